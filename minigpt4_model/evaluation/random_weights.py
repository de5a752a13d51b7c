"""Models of a preset's size with random weights: for measuring memory and speed where the weights are not at hand.

What such a model says means nothing. Tensors are made in the precision they are kept in, so that no second copy ever exists.
"""

from collections.abc import Iterator, Sequence

import torch

from ..model import MiniGPT4Config, MiniGPT4ForConditionalGeneration, MiniGPT4Processor
from ..model.configuration import bert_base_qformer
from ..model.processing import MiniGPT4ImageProcessor
from ..presets import PRESETS
from ..weights.load import TRAINED_PREFIXES, build_from_state
from ..weights.memory import SIZES

_BLOCK = 4_000_037  # a prime, so that no two rows of a matrix start at the same place of the block


class WordNumbers:
    """Stands in for the tokenizer: a word is one id, and what an id says is its number."""

    bos_token_id, eos_token_id = 1, 2
    all_special_tokens: tuple[str, ...] = ()
    all_special_ids: tuple[int, ...] = ()

    def __init__(self, vocab_size: int):
        self.vocab_size = vocab_size
        self.input_ids: list[int] = []

    def __call__(self, text: str, add_special_tokens: bool = False) -> "WordNumbers":
        ids = WordNumbers(self.vocab_size)
        ids.input_ids = [3 + sum(word.encode()) % (self.vocab_size - 3) for word in text.split()] + [13] * text.count("\n")
        return ids

    def __len__(self) -> int:
        return self.vocab_size

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return "".join(f" {number}" for number in ids)

    def get_vocab(self) -> dict[str, int]:
        return {}

    def get_added_vocab(self) -> dict[str, int]:
        return {}


class RandomProcessor(MiniGPT4Processor):
    """`MiniGPT4Processor` with `WordNumbers`, which transformers' own check of the tokenizer's type would refuse."""

    def __init__(self, config: MiniGPT4Config):
        vision = config.vision_config
        self.image_processor = MiniGPT4ImageProcessor(vision.image_size, vision.image_mean, vision.image_std)
        self.tokenizer = WordNumbers(config.text_config.vocab_size)
        self.image_token, self.image_token_id = config.image_token, config.image_token_id
        self.num_image_tokens = config.num_image_tokens


def full_size_config(preset: str) -> MiniGPT4Config:
    """The configuration of a full-size preset, from what the table of sizes knows of it."""
    size = SIZES[preset].language_model
    text = dict(
        model_type="llama",
        vocab_size=size.vocab_size,
        hidden_size=size.hidden_size,
        intermediate_size=size.intermediate_size,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
    )
    qformer = None if PRESETS[preset].qformer.startswith("none") else bert_base_qformer()
    return MiniGPT4Config(vision_config={}, qformer_config=qformer, text_config=text, chat_template_name=PRESETS[preset].chat_template)


class RandomTensors:
    """Makes tensors that behave like a network's: gains of one, biases of zero, matrices of small noise."""

    def __init__(self, seed: int = 0):
        self._noise = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(seed)) * 0.02

    def __call__(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if len(shape) < 2:
            return torch.full(shape, float(name.endswith("weight")), dtype=dtype)
        tensor = torch.empty(shape, dtype=dtype)
        flat = tensor.view(-1)
        for start in range(0, flat.numel(), _BLOCK):
            some = flat[start : start + _BLOCK]
            some.copy_(self._noise[: len(some)])
        return tensor


def build_random(config: MiniGPT4Config, dtype: torch.dtype, seed: int = 0) -> tuple[MiniGPT4ForConditionalGeneration, MiniGPT4Processor]:
    """A model on the CPU with its frozen parts in `dtype`, and a processor for it."""
    with torch.device("meta"):
        shapes = MiniGPT4ForConditionalGeneration(config).state_dict()
    state = dict(_fill(shapes, RandomTensors(seed), dtype))
    return build_from_state(config, state, "Random weights", dtype=dtype).eval(), RandomProcessor(config)


def _fill(shapes: dict[str, torch.Tensor], make: RandomTensors, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    for name, shape in shapes.items():
        kept_in = torch.float32 if name.startswith(TRAINED_PREFIXES) else dtype
        if not shape.is_floating_point():
            yield name, torch.zeros(shape.shape, dtype=shape.dtype)
        else:
            yield name, make(name, tuple(shape.shape), kept_in)
