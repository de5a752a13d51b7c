"""What can be told of the original project's files, which record nothing of what they were trained with, and when to refuse them.

A projection's shape says for which size of LLM it is, and whether a Q-Former comes before it. The LLM's configuration tells its family
(`language_models.py`). What no number tells (Llama 2 from its chat model, say) is looked up by the fingerprint of the embedding table,
and where that isn't known either, a warning says so.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .cache import made_by
from .errors import PairingError
from .language_models import TRAINED_WITH, LanguageModelIdentity, belongs_to, identify_by_config, size_name
from .official_presets import directory_of, pinned_recipe
from .sources import OFFICIAL_PRESETS, OfficialPreset

# Fingerprints (`pairing.fingerprint`) of embedding tables, with the name of the LLM. None of the full-size LLMs' is here, because their
# weights were not at hand: those that this machine has imported from their pinned revisions are known beside it (`known_embeddings`).
KNOWN_EMBEDDINGS: Mapping[str, str] = MappingProxyType({"1d2c5c3935afb21108892c8718087ae4": "SmolLM2-135M-Instruct"})


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
    known = known_embeddings().get(fingerprint)
    if known:
        variant = next((preset.variant for preset in OFFICIAL_PRESETS.values() if preset.language_model.title == known), None)
        return LanguageModelIdentity(known, config["hidden_size"], TRAINED_WITH[variant][1] if variant else None)
    return identify_by_config(config, directory)


def check_official_pairing(
    *, variant: str, projection: Path, in_features: int, out_features: int, image_width: int, encoder_width: int, llm: LanguageModelIdentity
) -> list[str]:
    """Refuses a projection that can't belong to the parts it is given with, and returns what can't be known, for warnings.

    `in_features` and `out_features` are the projection's; `image_width` is what reaches it: the Q-Former's width, or a multiple of
    `encoder_width`. Raises `PairingError` with both names and the fix.
    """
    trained_with, _ = TRAINED_WITH[variant]
    trained_size = size_name(out_features)
    trained_name = f"{trained_with} {trained_size}" if trained_size else f"an LLM {out_features} wide"
    if in_features != image_width:
        raise PairingError(_other_variant(variant, projection, in_features, image_width, encoder_width))
    if out_features != llm.hidden_size:
        raise PairingError(
            f"{projection} is a projection for {trained_name} (it makes {out_features} numbers a token), and --language-model is "
            f"{llm.name} ({llm.hidden_size}). Together they would babble. {_fix(variant, out_features, llm.hidden_size)}"
        )
    if not belongs_to(variant, llm):
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
