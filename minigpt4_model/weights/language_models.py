"""Which language model a `config.json` is of, as far as it tells: Vicuna v0, LLaMA, Llama 2, or surely none of them.

Vicuna v0 has one word more than LLaMA (a padding token); Llama 2 and what was made of it has twice the context. Every number has to agree:
Llama 3, Code Llama, Mistral, Qwen and SOLAR are 4096 wide too. A configuration never proves which weights lie beside it, so what it leaves
open is told as a doubt. Sources: the models' config.json; FastChat `docs/vicuna_weights_version.md`; upstream README, "Prepare the
pretrained LLM weights". Reads no weights and knows nothing of projections.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .errors import WeightsError

# Width -> what the LLMs of the original are called, their layers, and the width inside them.
_SIZES = MappingProxyType({4096: ("7B", 32, 11_008), 5120: ("13B", 40, 13_824)})
VICUNA_V0, LLAMA_1, LLAMA_2, VICUNA_V1_5, OTHER = "vicuna-v0", "llama-1", "llama-2", "vicuna-v1.5", "other"
TRAINED_WITH: Mapping[str, tuple[str, str]] = MappingProxyType({"vicuna": ("Vicuna v0", VICUNA_V0), "llama2": ("Llama-2-chat", LLAMA_2)})
_WORDS = 32_000  # of LLaMA's and Llama 2's tokenizer
_CONTEXTS = {2048: "LLaMA's", 4096: "Llama 2's"}
_UNTOLD = {"num_hidden_layers": 32, "intermediate_size": 11_008, "max_position_embeddings": 2048}  # transformers' for type llama


@dataclass(frozen=True)
class LanguageModelIdentity:
    """What an LLM seems to be. `family` is None where it can't be told; `doubt` says what remains open, for a warning."""

    name: str
    hidden_size: int
    family: str | None
    doubt: str | None = None


def size_name(width: int) -> str | None:
    """ "7B" or "13B" for the widths of the original's LLMs."""
    return _SIZES[width][0] if width in _SIZES else None


def belongs_to(variant: str, identity: LanguageModelIdentity) -> bool:
    """Whether an LLM may be the one that a variant's projection was trained with; widths are not compared."""
    return identity.family in (None, TRAINED_WITH[variant][1])


def identify_by_config(config: Mapping[str, Any], directory: Path) -> LanguageModelIdentity:
    """What a `config.json` tells. `directory` names the LLM where nothing else does."""
    width, vocabulary, kind = config["hidden_size"], config["vocab_size"], config.get("model_type")
    plain = f"the {kind} model {directory.name}"
    if width not in _SIZES:
        return LanguageModelIdentity(plain, width, None, "nothing is known of it, so only its sizes were compared")
    size, layers, inner = _SIZES[width]
    told = {name: config.get(name) or untold for name, untold in _UNTOLD.items()}
    context = told["max_position_embeddings"]
    has_sizes = (told["num_hidden_layers"], told["intermediate_size"]) == (layers, inner)
    heads = config.get("num_attention_heads")
    has_heads = (config.get("num_key_value_heads") or heads) == heads
    if kind != "llama" or vocabulary not in (_WORDS, _WORDS + 1) or context not in _CONTEXTS or not (has_sizes and has_heads):
        figures = f"{vocabulary} words, a context of {context} tokens, {told['num_hidden_layers']} layers"
        return LanguageModelIdentity(f"{plain} ({figures})", width, OTHER)
    if context == 2048 and vocabulary == _WORDS:
        return LanguageModelIdentity(f"LLaMA {size}, or Vicuna v1.1 or v1.3 {size}", width, LLAMA_1)
    if context == 2048:
        doubt = "its vocabulary of 32001 is Vicuna v0's, but others that were made of LLaMA with a padding token have it too"
        return LanguageModelIdentity(f"Vicuna v0 {size}", width, VICUNA_V0, doubt)
    return _llama_2(str(config.get("_name_or_path") or ""), size, width, vocabulary)


def _llama_2(said: str, size: str, width: int, vocabulary: int) -> LanguageModelIdentity:
    """Of the sizes of Llama 2; `said` is where its configuration says that it came from."""
    own = said.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if "vicuna" in own.lower():
        return LanguageModelIdentity(f"Vicuna v1.5 {size} ({own})", width, VICUNA_V1_5)
    padded = " with a padding token added" if vocabulary > _WORDS else ""
    if own.lower() == f"llama-2-{size.lower()}-chat-hf":
        doubt = "its sizes and its own name are those of the chat model, and what was made of that may still bear the name"
        return LanguageModelIdentity(f"Llama-2-chat {size}{padded}", width, LLAMA_2, doubt)
    named = f" (it calls itself {own})" if own else ""
    doubt = "Llama 2, its chat model and Vicuna v1.5 have the same sizes: make sure that it is the chat model"
    return LanguageModelIdentity(f"Llama 2 {size} or a model made of it{named}{padded}", width, LLAMA_2, doubt)


def read_language_model_config(directory: Path) -> dict[str, Any]:
    """`config.json` of an LLM's directory. Raises `WeightsError` when it is missing, damaged, or of something else."""
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fault = "has no config.json" if directory.is_dir() else "is not there"
        raise WeightsError(f"--language-model {directory} {fault}. Give a folder in Hugging Face's layout.") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is damaged ({error}). Download it again.") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path} is damaged: it is not a model's description in JSON. Download it again.")
    if not all(isinstance(config.get(name), int) and config[name] > 0 for name in ("hidden_size", "vocab_size")):
        raise WeightsError(f"{path} describes a {config.get('model_type')!r} model, not a language model. Give the LLM's own folder.")
    return config
