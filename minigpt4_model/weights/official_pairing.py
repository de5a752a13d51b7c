"""What can be told of the original project's files, which record nothing of what they were trained with, and when to refuse them.

A projection's shape says for which size of LLM it is, and whether a Q-Former comes before it. An LLM's configuration tells its family:
Vicuna v0 has one word more than LLaMA (a padding token), Llama 2 and what was made of it has twice the context. What no shape tells
(LLaMA 2 from its chat model, say) is looked up by the fingerprint of the embedding table, and where that isn't known either, a
warning says so. Sources: the models' config.json; FastChat `docs/vicuna_weights_version.md`; upstream README, "Prepare the pretrained LLM
weights".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .cache import made_by
from .errors import PairingError, WeightsError
from .official_presets import directory_of, pinned_recipe
from .sources import OFFICIAL_PRESETS, OfficialPreset

_SIZES = MappingProxyType({4096: "7B", 5120: "13B"})
_VICUNA_V0, _LLAMA_1, _LLAMA_2 = "vicuna-v0", "llama-1", "llama-2"
_TRAINED_WITH = {"vicuna": ("Vicuna v0", _VICUNA_V0), "llama2": ("Llama-2-chat", _LLAMA_2)}

# Fingerprints (`pairing.fingerprint`) of embedding tables, with the name of the LLM. None of the full-size LLMs' is here, because their
# weights were not at hand: those that this machine has imported from their pinned revisions are known beside it (`known_embeddings`).
KNOWN_EMBEDDINGS: Mapping[str, str] = MappingProxyType({"1d2c5c3935afb21108892c8718087ae4": "SmolLM2-135M-Instruct"})


@dataclass(frozen=True)
class LanguageModelIdentity:
    """What an LLM seems to be. `family` is None where it can't be told; `doubt` says what remains open, for a warning."""

    name: str
    hidden_size: int
    family: str | None
    doubt: str | None = None


def known_embeddings() -> dict[str, str]:
    """Fingerprint of the embedding table -> name of the LLM: the table, and what presets brought here from their pinned revisions."""
    known = dict(KNOWN_EMBEDDINGS)
    for preset in OFFICIAL_PRESETS.values():
        directory = directory_of(preset)
        if made_by(directory) == pinned_recipe(preset):
            try:
                recorded = json.loads((directory / "config.json").read_bytes())["trained_with"]["language_model"]
                known[recorded["embedding_fingerprint"]] = preset.language_model.title
            except (OSError, ValueError, KeyError, TypeError):
                continue  # a damaged import is made again when it is opened
    return known


def identify_language_model(config: Mapping[str, Any], directory: Path, fingerprint: str) -> LanguageModelIdentity:
    """Which LLM a `config.json` and an embedding table are of. `directory` names it where nothing else does."""
    width, vocabulary = config["hidden_size"], config["vocab_size"]
    known = known_embeddings().get(fingerprint)
    if known:
        variant = next((preset.variant for preset in OFFICIAL_PRESETS.values() if preset.language_model.title == known), None)
        return LanguageModelIdentity(known, width, _TRAINED_WITH[variant][1] if variant else None)
    size = _SIZES.get(width)
    if size is None or config.get("model_type") != "llama":
        doubt = "nothing is known of it, so only its sizes were compared"
        return LanguageModelIdentity(f"the {config.get('model_type')} model {directory.name}", width, None, doubt)
    long_context = (config.get("max_position_embeddings") or 0) >= 4096
    if vocabulary == 32_001:
        doubt = "its vocabulary of 32001 is Vicuna v0's, but others that were made of LLaMA with a padding token have it too"
        return LanguageModelIdentity(f"Vicuna v0 {size}", width, _VICUNA_V0, doubt)
    if long_context:
        said = str(config.get("_name_or_path") or "")
        if "vicuna" in said.lower():
            return LanguageModelIdentity(f"Vicuna v1.5 {size} ({said})", width, "vicuna-v1.5")
        if "chat" in said.lower():
            return LanguageModelIdentity(f"Llama-2-chat {size}", width, _LLAMA_2)
        doubt = "Llama 2, its chat model and Vicuna v1.5 have the same sizes: make sure that it is the chat model"
        return LanguageModelIdentity(f"Llama 2 {size} or a model made of it", width, _LLAMA_2, doubt)
    return LanguageModelIdentity(f"LLaMA {size}, or Vicuna v1.1 or v1.3 {size}", width, _LLAMA_1)


def check_official_pairing(
    *, variant: str, projection: Path, in_features: int, out_features: int, image_width: int, encoder_width: int, llm: LanguageModelIdentity
) -> list[str]:
    """Refuses a projection that can't belong to the parts it is given with, and returns what can't be known, for warnings.

    `in_features` and `out_features` are the projection's; `image_width` is what reaches it: the Q-Former's width, or a multiple of
    `encoder_width`. Raises `PairingError` with both names and the fix.
    """
    trained_with, family = _TRAINED_WITH[variant]
    trained_size = _SIZES.get(out_features)
    trained_name = f"{trained_with} {trained_size}" if trained_size else f"an LLM {out_features} wide"
    if in_features != image_width:
        raise PairingError(_other_variant(variant, projection, in_features, image_width, encoder_width))
    if out_features != llm.hidden_size:
        raise PairingError(
            f"{projection} is a projection for {trained_name} (it makes {out_features} numbers a token), and --language-model is "
            f"{llm.name} ({llm.hidden_size}). Together they would babble. {_fix(variant, out_features, llm.hidden_size)}"
        )
    if llm.family is not None and llm.family != family:
        raise PairingError(
            f"{projection} was trained with {trained_name}, and --language-model is {llm.name}: its embedding table is another. "
            f"Together they would babble. {_fix(variant, out_features, None)} If you know that it is {trained_name}: "
            "import-official --assume-pairing."
        )
    doubt = f"{projection} was trained with {trained_name}, and the language model seems to be {llm.name}: {llm.doubt}."
    return [doubt] if llm.doubt else []


def _other_variant(variant: str, projection: Path, in_features: int, image_width: int, encoder_width: int) -> str:
    reaches = f"{projection} takes {in_features} numbers a token, and {image_width} come from"
    if variant == "vicuna" and in_features % encoder_width == 0:
        return (
            f"{reaches} the Q-Former: it is a projection of the Llama-2 variant, which joins {in_features // encoder_width} patches of "
            f"{encoder_width} and has no Q-Former. Import it with --variant llama2, without --qformer, over Llama-2-chat."
        )
    if variant == "llama2":
        return (
            f"{reaches} joined patches: it is a projection of the Vicuna variant, which has a Q-Former. "
            "Import it with --variant vicuna and --qformer FILE, over Vicuna v0."
        )
    return (
        f"{reaches} the Q-Former: they are not of the same model. Give the Q-Former that the projection was trained with (--qformer FILE)."
    )


def _fix(variant: str, out_features: int, llm_width: int | None) -> str:
    """Where the LLM of this projection is, and where the projection of this LLM."""

    def preset_for(width: int | None) -> OfficialPreset | None:
        return next((preset for preset in OFFICIAL_PRESETS.values() if (preset.variant, preset.hidden_size) == (variant, width)), None)

    ways = []
    if belonging := preset_for(out_features):
        repository = belonging.language_model
        ways.append(f"Give it {repository.title} (--language-model with a copy of {repository.name}, or --preset {belonging.name})")
    if (other := preset_for(llm_width)) and other is not belonging:
        ways.append(
            f"{'or give' if ways else 'Give'} that LLM the projection made for it, {other.projection.title} ({other.projection.url})"
        )
    return ", ".join(ways) + "." if ways else "Give the language model that the projection was trained with (--language-model DIR)."


def read_language_model_config(directory: Path) -> dict[str, Any]:
    """`config.json` of an LLM's directory. Raises `WeightsError` when it is missing, damaged, or of something else."""
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if "hidden_size" not in config or "vocab_size" not in config:
            raise WeightsError(f"{path} describes a {config.get('model_type')!r} model, not a language model. Give the LLM's own folder.")
    except FileNotFoundError:
        fault = "has no config.json" if directory.is_dir() else "is not there"
        raise WeightsError(f"--language-model {directory} {fault}. Give a folder in Hugging Face's layout.") from None
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} is damaged ({error}). Download it again.") from error
    return config
