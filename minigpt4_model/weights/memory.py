"""How much memory a preset needs in each precision, reckoned from its architecture: weights, full conversations, and the program.

An estimate for deciding what fits, good to about a tenth; nothing here measures. Sizes are bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

PRECISIONS = ("float32", "16 bit", "8 bit", "4 bit")
# Bytes per weight of the LLM's linear layers. bitsandbytes' nf4 with double quantisation keeps 0.127 bits of scale per weight.
_LINEAR_BYTES = {"float32": 4.0, "16 bit": 2.0, "8 bit": 1.0, "4 bit": 0.516}
_PROGRAM_BYTES = 800_000_000  # Python, torch and activations: what the page takes before any weight is loaded


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

    @property
    def linear_parameters(self) -> int:
        """Weights of the layers' matrices, which 8 and 4 bit shrink."""
        head_dim = self.hidden_size // self.heads
        attention = 2 * self.hidden_size * (self.hidden_size + self.kv_heads * head_dim)
        return self.layers * (attention + 3 * self.hidden_size * self.intermediate_size)

    @property
    def table_parameters(self) -> int:
        """Input and output tables, which they leave alone."""
        return self.vocab_size * self.hidden_size * (1 if self.tied else 2)

    def cache_bytes(self, tokens: int, bytes_per_value: int) -> int:
        """Keys and values of one conversation of `tokens`."""
        return 2 * self.layers * self.kv_heads * (self.hidden_size // self.heads) * tokens * bytes_per_value


@dataclass(frozen=True)
class PresetSize:
    """The LLM, and the parameters of the vision encoder and of Q-Former with projection."""

    language_model: LanguageModelSize
    vision_encoder_parameters: int
    trained_parameters: int


_LLAMA_7B = LanguageModelSize(4096, 11008, 32, 32, 32, 32_000, tied=False)
_LLAMA_13B = LanguageModelSize(5120, 13824, 40, 40, 40, 32_000, tied=False)
_VIT_G = 985_000_000  # 39 blocks of EVA-CLIP ViT-g/14
_BLIP2_QFORMER = 105_000_000

SIZES: Mapping[str, PresetSize] = MappingProxyType(
    {
        "pocket": PresetSize(LanguageModelSize(576, 1536, 30, 9, 3, 49_152, tied=True), 4_800_000, 10_000_000),
        "vicuna-7b": PresetSize(_LLAMA_7B, _VIT_G, _BLIP2_QFORMER + 768 * 4096),
        "vicuna-13b": PresetSize(_LLAMA_13B, _VIT_G, _BLIP2_QFORMER + 768 * 5120),
        "llama2-7b": PresetSize(_LLAMA_7B, _VIT_G, 4 * 1408 * 4096),
    }
)


def needed_bytes(size: PresetSize, precision: str, context_length: int, conversations: int) -> int:
    """Memory with the keys and values of so many `conversations` of `context_length` tokens, answers in progress included.

    Encoder, tables and cache are 16 bit in 8 and 4 bit; the Q-Former is 32 bit.
    """
    other = 4 if precision == "float32" else 2
    language_model = size.language_model
    weights = language_model.linear_parameters * _LINEAR_BYTES[precision]
    weights += (language_model.table_parameters + size.vision_encoder_parameters) * other + size.trained_parameters * 4
    return int(weights) + conversations * language_model.cache_bytes(context_length, other) + _PROGRAM_BYTES
