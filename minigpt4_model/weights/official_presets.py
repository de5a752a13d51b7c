"""The full-size presets: their parts found or fetched, imported once into the cache, and found there from then on.

A part comes from the first place that has it: `--local-dir`, the downloads of this program, the caches of torch and of
`huggingface_hub` (where the original project and others put the same files), and last its server. `local_dir` may also be a model that
was imported before.
Run as a module, it prepares a preset without opening it: `python -m minigpt4_model.weights.official_presets vicuna-7b [--local-dir DIR]`.
"""

import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from . import progress as progress_lines
from .advice import python_command
from .cache import cached_directory, home, made_by, sha256_of
from .download import Source, download
from .errors import WeightsError
from .hub import cached_snapshot, download_repository
from .progress import Progress
from .sources import OFFICIAL_PRESETS, HubRepository, OfficialPreset, RemoteFile
from .tensor_files import weight_files

_IMPORT_VERSION = 1  # changes when an import's output changes, so that old ones are made again
_DEPTH = 3  # folders below --local-dir that are looked through


@dataclass(frozen=True)
class FoundParts:
    """Parts that are on this machine, by the role they play; missing ones are None."""

    vision: Path | None
    qformer: Path | None
    projection: Path | None
    language_model: Path | None

    def describe(self) -> str:
        """The same for the same files, and another for changed ones."""
        said = []
        for role in ("vision", "qformer", "projection", "language_model"):
            place = getattr(self, role)
            if place is not None:
                files = weight_files(place) if role == "language_model" else [place]
                stamps = ",".join(f"{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)
                said.append(f"{role} {place.resolve()} {stamps}")
        return "; ".join(said)


def directory_of(preset: OfficialPreset) -> Path:
    """Where the imported model of a preset lives. It may not exist yet."""
    return home() / "official" / preset.name


def downloads() -> Path:
    return home() / "official" / "downloads"


def ensure_official(name: str, local_dir: Path | None = None, progress: Progress = progress_lines.console) -> Path:
    """The directory of a preset's model, fetched and imported where the cache does not hold it whole.

    With `local_dir` its files take the place of downloads, and what was imported of other files is made again. Raises `WeightsError`,
    which names what is missing, where it was looked for and the fix.
    """
    preset = OFFICIAL_PRESETS[name]
    directory = directory_of(preset)
    if local_dir is not None:
        local_dir = local_dir.expanduser()
        if not local_dir.is_dir():
            raise WeightsError(f"--local-dir {local_dir} is not a folder. Give the one that holds the files of {name}.")
        if _is_imported(preset, local_dir):
            return local_dir
        local = find_local(preset, local_dir)
        recipe = f"{pinned_recipe(preset)}, of {local.describe()}"
    else:
        local = FoundParts(None, None, None, None)
        recipe = made_by(directory) or ""
        if not recipe.startswith(pinned_recipe(preset)):
            recipe = pinned_recipe(preset)

    def make(output: Path) -> None:
        _import(preset, _complete(preset, local, progress), output, progress)

    needed = int(preset.language_model.size_bytes * 1.02) + preset.vision.size_bytes + 500_000_000
    cached_directory(directory, recipe, make, needed, f"the imported model {name}", progress)
    shutil.rmtree(_repository_folder(preset.language_model), ignore_errors=True)  # the import holds the same numbers
    return directory


def pinned_recipe(preset: OfficialPreset) -> str:
    """How a preset is made of its own sources; of files from `--local-dir` they are named behind it."""
    return f"{preset.name} imported by version {_IMPORT_VERSION} from {preset.language_model.name}@{preset.language_model.revision}"


def _repository_folder(repository: HubRepository) -> Path:
    return downloads() / f"{repository.name.replace('/', '--')}@{repository.revision[:12]}"


def _is_imported(preset: OfficialPreset, directory: Path) -> bool:
    """Whether a folder is a model of ours. Raises `WeightsError` when it is, and not of this preset's kind."""
    try:
        config = json.loads((directory / "config.json").read_bytes())
        if config["model_type"] != "minigpt4":
            return False
        width, has_qformer = config["text_config"]["hidden_size"], config["qformer_config"] is not None
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if (width, has_qformer) != (preset.hidden_size, preset.qformer is not None):
        described = f"an LLM {width} wide and {'a' if has_qformer else 'no'} Q-Former"
        raise WeightsError(
            f"--local-dir {directory} is an imported model with {described}, not {preset.name}. Open it with --model {directory}."
        )
    return True


def find_local(preset: OfficialPreset, local_dir: Path) -> FoundParts:
    """The parts of a preset in a folder of a person's own, or a few folders below it.

    Raises `WeightsError` when nothing is there, or when several language models could be meant.
    """
    folders = _folders(local_dir)
    found = {
        role: next((folder / name for folder in folders for name in file.names if (folder / name).is_file()), None) if file else None
        for role, file in (("vision", preset.vision), ("qformer", preset.qformer), ("projection", preset.projection))
    }
    models = [folder for folder in folders if _is_language_model(folder, preset.hidden_size)]
    if len(models) > 1:
        named = [folder for folder in models if preset.language_model.name.split("/")[-1] in folder.parts]
        if len(named) != 1:
            raise WeightsError(
                f"--local-dir {local_dir} holds {len(models)} language models of that size: {', '.join(map(str, models))}. "
                f"Give a folder with {preset.language_model.title} only, or choose each file with import-official."
            )
        models = named
    parts = FoundParts(**found, language_model=models[0] if models else None)
    if parts == FoundParts(None, None, None, None):
        wanted = ", ".join(" or ".join(file.names) for file in preset.files)
        raise WeightsError(
            f"--local-dir {local_dir} holds nothing of {preset.name}. It is looked through for {wanted}, and for a folder with "
            f"{preset.language_model.title} (config.json, tokenizer and weights, {preset.hidden_size} wide)."
        )
    return parts


def _folders(root: Path) -> list[Path]:
    """`root` and the folders below it, the nearest first."""
    found, level = [root], [root]
    for _ in range(_DEPTH):
        level = [child for folder in level for child in sorted(folder.iterdir()) if child.is_dir() and os.access(child, os.R_OK | os.X_OK)]
        found += level
    return found


def _is_language_model(folder: Path, hidden_size: int) -> bool:
    try:
        config = json.loads((folder / "config.json").read_bytes())
        if config["model_type"] != "llama" or config["hidden_size"] != hidden_size:
            return False
        weight_files(folder)
    except (OSError, ValueError, KeyError, TypeError, WeightsError):
        return False
    return True


def _complete(preset: OfficialPreset, local: FoundParts, progress: Progress) -> FoundParts:
    """All parts, those that are not here fetched."""
    missing = sum(size for title, _, size, place in describe_parts(preset) if place is None and title not in _titles(preset, local))
    parts = f"{', '.join(file.title for file in preset.files)} and {preset.language_model.title}"
    fetched = f"; {missing / 1e9:.1f} GB of it are fetched, once" if missing else ""
    progress(f"{preset.name} is made of {parts}{fetched}.", None)
    repository = preset.language_model
    language_model = local.language_model or cached_snapshot(repository)
    if language_model is None and repository.gated:  # whoever has no access learns it before gigabytes of the rest are fetched
        language_model = download_repository(repository, _repository_folder(repository), progress)
    files = {role: getattr(local, role) or _bring(file, progress) for role, file in _roles(preset)}
    for role, file in _roles(preset):
        if getattr(local, role) is not None and file.sha256 and sha256_of(files[role], progress) != file.sha256:
            progress(f"note: {files[role]} is not the original's file of that name (its sha256 is another). Taken as it is.", None)
    if language_model is None:
        language_model = download_repository(repository, _repository_folder(repository), progress)
    return FoundParts(**{"qformer": None, **files}, language_model=language_model)


def _titles(preset: OfficialPreset, local: FoundParts) -> list[str]:
    """The titles of the parts that are there."""
    titles = [file.title for role, file in _roles(preset) if getattr(local, role) is not None]
    return titles + ([preset.language_model.title] if local.language_model is not None else [])


def _roles(preset: OfficialPreset) -> list[tuple[str, RemoteFile]]:
    roles = (("vision", preset.vision), ("qformer", preset.qformer), ("projection", preset.projection))
    return [(role, file) for role, file in roles if file is not None]


def _torch_cache(file: RemoteFile) -> Path:
    """Where the original project, which downloads through torch, has a file."""
    return Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch").expanduser() / "hub" / "checkpoints" / file.name


def _bring(file: RemoteFile, progress: Progress) -> Path:
    """A file from torch's cache, where the original project puts what it downloads, or from its server."""
    path = downloads() / file.name
    if not path.exists() and file.sha256:
        cached = _torch_cache(file)
        if cached.is_file() and sha256_of(cached, progress) == file.sha256:
            return cached
    if not path.exists():
        progress(f"{file.title}: {path} ({file.size_bytes / 1e6:.0f} MB, {file.licence})", None)
    source = Source(file.title, file.url, sha256=file.sha256, size_bytes=file.size_bytes, page=file.page)
    try:
        against = download(source, path, progress)
    except WeightsError as error:
        raise WeightsError(f"{error}\nIf you have files of the original already: --local-dir DIR.") from error
    if not file.sha256:
        progress(f"{path.name} was checked against {against}; no hash of it is publicly known.", None)
    return path


def _import(preset: OfficialPreset, parts: FoundParts, output: Path, progress: Progress) -> None:
    from .import_official import write_plan
    from .import_plan import OfficialParts, plan_import

    repository = preset.language_model
    pinned = (_repository_folder(repository), cached_snapshot(repository))
    plan = plan_import(
        OfficialParts(
            vision=parts.vision,
            qformer=parts.qformer,
            projection=parts.projection,
            language_model=parts.language_model,
            variant=preset.variant,
            language_model_name=repository.title if parts.language_model in pinned else None,
        )
    )
    for notice in plan.notices:
        progress(f"note: {notice}", None)
    write_plan(plan, output, progress)


def describe_parts(preset: OfficialPreset) -> list[tuple[str, str, int, Path | None]]:
    """(title, licence, size in bytes, where it is on this machine or None) of every part. Looks at no content and at no network."""
    rows: list[tuple[str, str, int, Path | None]] = []
    for _, file in _roles(preset):
        places = (downloads() / file.name, _torch_cache(file))
        rows.append((file.title, file.licence, file.size_bytes, next((place for place in places if place.is_file()), None)))
    repository = preset.language_model
    place = cached_snapshot(repository)
    if place is None and _is_language_model(_repository_folder(repository), preset.hidden_size):
        place = _repository_folder(repository)
    return [*rows, (repository.title, repository.licence, repository.size_bytes, place)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m minigpt4_model.weights.official_presets", description="Prepares a full-size preset.")
    parser.add_argument("preset", choices=list(OFFICIAL_PRESETS))
    parser.add_argument("--local-dir", type=Path, metavar="DIR", help="a folder with files that you have; only the rest is downloaded")
    args = parser.parse_args(argv)
    try:
        directory = ensure_official(args.preset, args.local_dir)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{directory}\nOpen it: {python_command('app.py', '--preset', args.preset)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
