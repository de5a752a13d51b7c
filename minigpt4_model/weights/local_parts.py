"""Parts of a full-size preset in folders of a person's own (`--local-dir`): found by name, and a language model by what it is.

Looks only: nothing that is found here is ever changed, moved or deleted.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from .errors import PairingError, WeightsError
from .language_models import LanguageModelIdentity, belongs_to, identify_by_config, size_name
from .sources import OfficialPreset
from .tensor_files import weight_files

_DEPTH = 3  # folders below --local-dir that are looked through
_FOLDERS = 20_000  # more are no collection of models


@dataclass(frozen=True)
class FoundParts:
    """Parts that are on this machine, by the role they play; missing ones are None."""

    vision: Path | None = None
    qformer: Path | None = None
    projection: Path | None = None
    language_model: Path | None = None

    def describe(self) -> str:
        """The same for the same files, and another for changed ones."""
        said = []
        for role, place in self.places().items():
            files = weight_files(place) if role == "language_model" else [place]
            stamps = ",".join(f"{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)
            said.append(f"{role} {place.resolve()} {stamps}")
        return "; ".join(said)

    def places(self) -> dict[str, Path]:
        """Those that are there, by role."""
        roles = ("vision", "qformer", "projection", "language_model")
        return {role: getattr(self, role) for role in roles if getattr(self, role) is not None}


def find_local(preset: OfficialPreset, local_dir: Path, needs_language_model: bool = True) -> FoundParts:
    """The parts of a preset in a folder, or up to three folders below it, the nearest first.

    Raises `PairingError` when the only language models there are others than the preset's, unless none is needed, and `WeightsError`
    when nothing is there, when several language models could be meant, or when the folder can't be read or is no collection of models.
    """
    folders = _folders(local_dir)
    roles = (("vision", preset.vision), ("qformer", preset.qformer), ("projection", preset.projection))
    found = {
        role: next((folder / name for folder in folders for name in file.names if _is_file(folder / name)), None) if file else None
        for role, file in roles
    }
    models = {folder: identity for folder in folders if (identity := _identify(folder, preset.hidden_size))}
    fitting = [folder for folder, identity in models.items() if _fits(preset, identity)]
    if len(fitting) > 1:
        named = [folder for folder in fitting if preset.language_model.name.split("/")[-1] in folder.parts]
        if len(named) != 1:
            raise WeightsError(
                f"--local-dir {local_dir} holds {len(fitting)} language models of that size: {', '.join(map(str, fitting))}. "
                f"Give a folder with {preset.language_model.title} only, or choose each file with import-official."
            )
        fitting = named
    if models and not fitting and needs_language_model:
        raise PairingError(_others_only(preset, local_dir, models))
    parts = FoundParts(**found, language_model=fitting[0] if fitting else None)
    if not parts.places():
        wanted = ", ".join(" or ".join(file.names) for file in preset.files)
        raise WeightsError(
            f"--local-dir {local_dir} holds nothing of {preset.name}. It is looked through for {wanted}, and for a folder with "
            f"{preset.language_model.title} (config.json, tokenizer and weights, {preset.hidden_size} wide)."
        )
    return parts


def _fits(preset: OfficialPreset, identity: LanguageModelIdentity) -> bool:
    return identity.hidden_size == preset.hidden_size and belongs_to(preset.variant, identity)


def _others_only(preset: OfficialPreset, local_dir: Path, models: dict[Path, LanguageModelIdentity]) -> str:
    told = "; ".join(f"{folder} is {identity.name}" for folder, identity in models.items())
    return (
        f"{preset.projection.title} was trained with {preset.language_model.title}, and --local-dir {local_dir} holds only another "
        f"language model: {told}. Together they would babble. Give a folder with {preset.language_model.title} (a copy of "
        f"{preset.language_model.name}), or one without that model: then {preset.language_model.title} is downloaded "
        f"({preset.language_model.size_bytes / 1e9:.1f} GB). If you know that it is the right one: import-official --assume-pairing."
    )


def _folders(root: Path) -> list[Path]:
    """`root` and the folders below it, the nearest first; those that can't be read are passed over."""
    found, level = [root], [root]
    for _ in range(_DEPTH):
        level = [child for folder in level for child in _children(folder)]
        found += level
        if len(found) > _FOLDERS:
            raise WeightsError(f"--local-dir {root} holds more than {_FOLDERS:,} folders. Give the one that holds the files.")
    return found


def _children(folder: Path) -> list[Path]:
    try:
        return [child for child in sorted(folder.iterdir()) if child.is_dir() and os.access(child, os.R_OK | os.X_OK)]
    except OSError:
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _identify(folder: Path, hidden_size: int) -> LanguageModelIdentity | None:
    """What the LLM in a folder is, if there is a whole one as wide as an LLM of the original's, or `hidden_size` wide."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        is_wide = config["hidden_size"] == hidden_size or size_name(config["hidden_size"]) is not None
        if not is_wide or not isinstance(config["vocab_size"], int):
            return None
        weight_files(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, WeightsError):
        return None
    return identify_by_config(config, folder)
