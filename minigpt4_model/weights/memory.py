"""How much memory a model needs in each precision, reckoned from its configuration: weights, full conversations, and the program.

An estimate for deciding what fits, good to about a tenth; nothing here measures, and nothing is loaded. Sizes are bytes. The
weights are exact for EVA-CLIP, the Q-Former and LLMs of Llama's architecture (a test compares them with the modules).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

PRECISIONS = ("float32", "16 bit", "8 bit", "4 bit")
# Bytes per weight of the LLM's linear layers. bitsandbytes' nf4 with double quantisation keeps 0.127 bits of scale per weight.
_LINEAR_BYTES = {"float32": 4.0, "16 bit": 2.0, "8 bit": 1.0, "4 bit": 0.516}
PROGRAM_BYTES = 800_000_000  # Python, torch and activations: what the page takes before any weight is loaded
_EFFICIENTNET_LITE2 = 4_869_232  # parameters and batch statistics of one trunk
_IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class LanguageModelSize:
    """A Llama-architecture LLM."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    vocab_size: int
    tied: bool
    head_width: int = 0  # hidden_size / heads where it is not given

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer's matrices, which 8 and 4 bit shrink."""
        return 2 * self.hidden_size * (self.heads + self.kv_heads) * self._head_width + 3 * self.hidden_size * self.intermediate_size

    @property
    def linear_parameters(self) -> int:
        """Those of all layers."""
        return self.layers * self.layer_parameters

    @property
    def table_parameters(self) -> int:
        """Input and output tables, which 8 and 4 bit leave alone, and the norms."""
        return self.vocab_size * self.hidden_size * (1 if self.tied else 2) + (2 * self.layers + 1) * self.hidden_size

    def cache_bytes(self, tokens: int, bytes_per_value: int) -> int:
        """Keys and values of one conversation of `tokens`."""
        return 2 * self.layers * self.kv_heads * self._head_width * tokens * bytes_per_value

    @property
    def _head_width(self) -> int:
        return self.head_width or self.hidden_size // self.heads


@dataclass(frozen=True)
class ModelSize:
    """The LLM, the parameters of the vision encoder, those of the Q-Former, and those of the projection with the query tokens.

    `encoder_fp32_parameters` are those of the encoder's that stay in fp32 in 16 bits: a ViT's norms, positions and biases of q and v,
    and all of a small convolution, whose statistics would lose too much.
    """

    language_model: LanguageModelSize
    vision_encoder_parameters: int
    qformer_parameters: int
    projection_parameters: int
    encoder_fp32_parameters: int = 0

    @property
    def trained_parameters(self) -> int:
        """What training may touch: the Q-Former, its queries and the projection."""
        return self.qformer_parameters + self.projection_parameters

    def layer_bytes(self, precision: str) -> int:
        """One layer of the LLM."""
        return int(self.language_model.layer_parameters * _LINEAR_BYTES[precision])

    def other_bytes(self, precision: str, beside: str = "16 bit") -> int:
        """All but the LLM's layers. The Q-Former is fp32 as in the original; with an LLM of 8 or 4 bit it is as all the rest, `beside`."""
        width = value_bytes(precision, beside)
        qformer = 4 if precision in ("float32", "16 bit") else width
        encoder = self.vision_encoder_parameters * width + self.encoder_fp32_parameters * (4 - width)
        tables = self.language_model.table_parameters * width
        return tables + encoder + self.qformer_parameters * qformer + self.projection_parameters * 4

    def weight_bytes(self, precision: str, beside: str = "16 bit") -> int:
        """All weights."""
        return self.other_bytes(precision, beside) + self.language_model.layers * self.layer_bytes(precision)

    def conversation_bytes(self, precision: str, context_length: int, beside: str = "16 bit") -> int:
        """Keys and values of one conversation of `context_length` tokens."""
        return self.language_model.cache_bytes(context_length, value_bytes(precision, beside))


def value_bytes(precision: str, beside: str = "16 bit") -> int:
    """Bytes of one value of the encoder, the tables and the cache. In 8 and 4 bit they are `beside`: 16 bit unless asked otherwise."""
    return 4 if "float32" in (precision, beside if precision in ("8 bit", "4 bit") else "") else 2


def size_of(config: Mapping[str, Any]) -> ModelSize:
    """The sizes of the model that a `config.json` describes; what it leaves out has the defaults of `MiniGPT4Config`."""
    vision, qformer, text = (config.get(part) or {} for part in ("vision_config", "qformer_config", "text_config"))
    heads = text.get("num_attention_heads", 32)
    language_model = LanguageModelSize(
        hidden_size=text.get("hidden_size", 4096),
        intermediate_size=text.get("intermediate_size", 11008),
        layers=text.get("num_hidden_layers", 32),
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        vocab_size=text.get("vocab_size", 32_000),
        tied=bool(text.get("tie_word_embeddings", False)),
        head_width=text.get("head_dim") or 0,
    )
    image_width = vision.get("hidden_size", 1408)
    queries = 0
    if qformer:
        width = qformer.get("hidden_size", 768)
        queries = config.get("num_query_tokens", 32) * width
    else:
        width = config.get("patches_per_token", 4) * image_width
    projection = (width + 1) * language_model.hidden_size + queries
    qformer_parameters = _qformer_parameters(qformer, image_width) if qformer else 0
    if vision.get("architecture", "eva_vit") == "eva_vit":
        encoder, in_fp32 = _eva_parameters(vision)
    else:
        encoder = in_fp32 = _efficientnet_parameters(vision)
    return ModelSize(language_model, encoder, qformer_parameters, projection, in_fp32)


def _eva_parameters(vision: Mapping[str, Any]) -> tuple[int, int]:
    """timm's `Eva` as `vision_encoder.build_trunk` makes it, with `ln_vision`: (all, those that `VisionEncoder` keeps in fp32)."""
    width, patch = vision.get("hidden_size", 1408), vision.get("patch_size", 14)
    inner, blocks = int(width * vision.get("mlp_ratio", 4.3637)), vision.get("num_hidden_layers", 39)
    positions = (vision.get("image_size", 224) // patch) ** 2 + 1
    in_fp32 = (1 + positions + 2) * width + blocks * 6 * width  # CLS, positions, ln_vision; two norms and two biases a block
    matrices = 4 * width * width + width + 2 * width * inner + inner + width  # with the biases that are no q's or v's
    return (3 * patch * patch + 1) * width + blocks * matrices + in_fp32, in_fp32


def _efficientnet_parameters(vision: Mapping[str, Any]) -> int:
    """One trunk, or two of them with what each recognises (`TagTokens`: a classifier, and word pieces of each class's name)."""
    if vision.get("architecture") != "efficientnet_lite2_tags":
        return _EFFICIENTNET_LITE2
    width, drawn, photographed = vision["hidden_size"], vision["drawing_names"], vision["photograph_names"]
    told = (drawn + photographed) * 4 * vision["piece_width"]
    return 2 * _EFFICIENTNET_LITE2 + (drawn + _IMAGENET_CLASSES) * (width + 2) + told


def _qformer_parameters(qformer: Mapping[str, Any], image_width: int) -> int:
    """transformers' `Blip2QFormerModel` without its text side."""
    width, inner = qformer.get("hidden_size", 768), qformer.get("intermediate_size", 3072)
    layers, every = qformer.get("num_hidden_layers", 12), qformer.get("cross_attention_frequency", 2)
    attention = 4 * (width * width + width) + 2 * width
    crossing = 2 * (width * width + width) + 2 * (qformer.get("encoder_hidden_size", image_width) * width + width) + 2 * width
    mlp = 2 * width * inner + inner + width + 2 * width
    return 2 * width + layers * (attention + mlp) + -(-layers // every) * crossing


_LLAMA_13B = {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40}
_BERT_BASE = {"hidden_size": 768}
_SMOLLM2_135M = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49_152,
    "tie_word_embeddings": True,
}
_POCKET_ENCODER = {"architecture": "efficientnet_lite2", "hidden_size": 1280}
_POCKET_QFORMER = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "encoder_hidden_size": 1280}

# What of a config.json decides the size of each preset, for when none is at hand.
CONFIGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "pocket": {"vision_config": _POCKET_ENCODER, "qformer_config": _POCKET_QFORMER, "text_config": _SMOLLM2_135M},
        "vicuna-7b": {"qformer_config": _BERT_BASE},
        "vicuna-13b": {"qformer_config": _BERT_BASE, "text_config": _LLAMA_13B},
        "llama2-7b": {"text_config": {"max_position_embeddings": 4096}},
    }
)
SIZES: Mapping[str, ModelSize] = MappingProxyType({name: size_of(config) for name, config in CONFIGS.items()})


def needed_bytes(size: ModelSize, precision: str, context_length: int, conversations: int) -> int:
    """Memory with the keys and values of so many `conversations` of `context_length` tokens, answers in progress included."""
    return size.weight_bytes(precision) + conversations * size.conversation_bytes(precision, context_length) + PROGRAM_BYTES
