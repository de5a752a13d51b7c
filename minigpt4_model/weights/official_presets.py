"""The full-size presets: their parts found or fetched, imported once into the cache, and found there from then on.

A part comes from the first place that has it: `--local-dir`, the downloads of this program, the caches of torch and of
`huggingface_hub` (where the original project and others put the same files), and last its server. `local_dir` may also be a model that
was imported before. Nothing is deleted: a person's files stay as they are, and downloads stay until the person removes them.
Run as a module, it prepares a preset without opening it: `python -m minigpt4_model.weights.official_presets vicuna-7b [--local-dir DIR]`.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path

from . import progress as progress_lines
from .advice import python_command
from .cache import cached_directory, find_faults, home, made_by, sha256_of
from .download import Source, download
from .errors import WeightsError
from .hub import cached_snapshot, download_repository, fetched_repository
from .local_parts import FoundParts, find_local
from .progress import Progress
from .sources import OFFICIAL_PRESETS, HubRepository, OfficialPreset, RemoteFile

_IMPORT_VERSION = 1  # changes when an import's output changes, so that old ones are made again
_OF_LOCAL = ", of "


def directory_of(preset: OfficialPreset) -> Path:
    """Where the imported model of a preset lives. It may not exist yet."""
    return home() / "official" / preset.name


def downloads() -> Path:
    return home() / "official" / "downloads"


def ensure_official(name: str, local_dir: Path | None = None, progress: Progress = progress_lines.console) -> Path:
    """The directory of a preset's model, fetched and imported where the cache does not hold it whole.

    With `local_dir` its files take the place of downloads, and what was imported of other files is made again. Without it, what was
    imported of a person's files stays in use. Raises `WeightsError`, which names what is missing, where it was looked for and the fix.
    """
    preset = OFFICIAL_PRESETS[name]
    directory = directory_of(preset)
    local, recipe = FoundParts(), pinned_recipe(preset)
    if local_dir is not None:
        local_dir = local_dir.expanduser()
        if not local_dir.is_dir():
            kept = f", or leave it out: the model imported before is in {directory}" if made_by(directory) else ""
            raise WeightsError(f"--local-dir {local_dir} is not a folder. Give the one that holds the files of {name}{kept}.")
        if _is_imported(preset, local_dir):
            return local_dir
        local = find_local(preset, local_dir, needs_language_model=_language_model_here(preset) is None)
        recipe = f"{recipe}{_OF_LOCAL}{local.describe()}"
    elif files := own_files_of_import(preset):
        if faults := find_faults(directory, progress=progress):
            raise WeightsError(f"{faults[0]} {how_to_import_again(preset, files)}")
        progress(f"{name} is the model that was imported of files of yours: {files}.", None)
        return directory
    was_made = False

    def make(output: Path) -> None:
        nonlocal was_made
        for role, place in local.places().items():
            progress(f"{role.replace('_', ' ')}: {place}, which stays as it is; its numbers are copied into {directory}.", None)
        _import(preset, _complete(preset, local, progress), output, progress)
        was_made = True

    before = _size_of(downloads())
    cached_directory(directory, recipe, make, needed_disk(preset, local), f"the imported model {name}", progress)
    if was_made and _size_of(downloads()) > before:
        progress(
            f"The downloads stay in {downloads()} ({_size_of(downloads()) / 1e9:.1f} GB), so that nothing is fetched twice. "
            f"{name} runs without them: remove that folder where the space is needed.",
            None,
        )
    return directory


def pinned_recipe(preset: OfficialPreset) -> str:
    """How a preset is made of its own sources; of files from `--local-dir` they are named behind it."""
    return f"{preset.name} imported by version {_IMPORT_VERSION} from {preset.language_model.name}@{preset.language_model.revision}"


def own_files_of_import(preset: OfficialPreset) -> str | None:
    """Which files of a person's own the imported model was made of; None where it was made without any, or isn't there."""
    made, begin = made_by(directory_of(preset)) or "", pinned_recipe(preset) + _OF_LOCAL
    return re.sub(r" [\d:,]+(?=;|$)", "", made.removeprefix(begin)) if made.startswith(begin) else None


def how_to_import_again(preset: OfficialPreset, files: str) -> str:
    """What to do about a damaged import of a person's own `files`."""
    return (
        f"It was imported of files of yours ({files}). Give --local-dir with them once more; or remove {directory_of(preset)}, "
        "and what is not here is downloaded."
    )


def _size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _missing_bytes(preset: OfficialPreset, local: FoundParts) -> int:
    """What has to be fetched beside `local`."""
    return sum(size for title, _, size, place in describe_parts(preset) if place is None and title not in _titles(preset, local))


def needed_disk(preset: OfficialPreset, local: FoundParts) -> int:
    """Bytes for the imported model, and for what has to be fetched beside `local`, less what a download that broke off has brought."""
    begun = sum(path.stat().st_size for path in downloads().glob("*.partial"))
    if local.language_model is None and _language_model_here(preset) is None:
        begun += _size_of(_repository_folder(preset.language_model))
    imported = int(preset.language_model.size_bytes * 1.02) + preset.vision.size_bytes + 500_000_000
    return imported + max(0, _missing_bytes(preset, local) - begun)


def _language_model_here(preset: OfficialPreset) -> Path | None:
    """The pinned language model, where it is on this machine already."""
    repository = preset.language_model
    return cached_snapshot(repository) or fetched_repository(repository, _repository_folder(repository))


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


def _complete(preset: OfficialPreset, local: FoundParts, progress: Progress) -> FoundParts:
    """All parts, those that are not here fetched."""
    missing = _missing_bytes(preset, local)
    parts = f"{', '.join(file.title for file in preset.files)} and {preset.language_model.title}"
    fetched = f"; {missing / 1e9:.1f} GB of it are fetched, once" if missing else ""
    progress(f"{preset.name} is made of {parts}{fetched}.", None)
    repository = preset.language_model
    language_model = local.language_model or _language_model_here(preset)
    if language_model is None and repository.gated:  # whoever has no access learns it before gigabytes of the rest are fetched
        language_model = download_repository(repository, _repository_folder(repository), progress)
    files = {role: getattr(local, role) or _bring(file, progress) for role, file in _roles(preset)}
    for role, file in _roles(preset):
        if getattr(local, role) is not None and file.sha256 and sha256_of(files[role], progress) != file.sha256:
            progress(f"note: {files[role]} is not the original's file of that name (its sha256 is another). Taken as it is.", None)
    if language_model is None:
        language_model = download_repository(repository, _repository_folder(repository), progress)
    return FoundParts(**files, language_model=language_model)


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
    return [*rows, (repository.title, repository.licence, repository.size_bytes, _language_model_here(preset))]


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
