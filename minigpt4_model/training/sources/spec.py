"""`--data [KIND:]PATH[,images=FOLDER][@WEIGHT]`: what the flag means, and which kind of source lies at a path.

--data /data/laion/{00000..00600}.tar@4.5 --data shards:/data/cc_sbu@0.5
--data /data/cc_sbu_align
--data /data/mine/captions.csv,images=/data/photos
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...chat.pictures import load_picture
from .alignment import ANNOTATIONS, AlignmentSource
from .captions import SUFFIXES, CaptionSource
from .llava import LlavaSource
from .mixture import Mixture
from .order import WINDOW_BLOCKS
from .sample import PictureOpener, Source, SourceError
from .shards import ShardSource, listing

KINDS = {
    "shards": "webdataset .tar files: a folder, a file, a glob or {00000..00099}.tar",
    "alignment": f"the official stage-2 folder: {ANNOTATIONS} and image/",
    "captions": "a .jsonl, .csv or .tsv file, or a .json list, that names pictures and their captions; or its folder",
    "conversations": "a .json file of conversations as LLaVA writes it, or its folder",
}
SYNTAX = "[KIND:]PATH[,images=FOLDER][@WEIGHT]"

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".heic")


@dataclass(frozen=True)
class DataSpec:
    """One `--data` flag. `kind` is "" where it is to be recognised; `weight` None where sources are mixed by their sizes."""

    path: str
    kind: str = ""
    images: str | None = None
    weight: float | None = None


def parse_data_spec(text: str) -> DataSpec:
    """Reads one `--data` flag; looks at no file. Raises `SourceError`."""
    rest, weight = text.strip(), None
    if match := re.fullmatch(r"(.+)@([^@/\\]*)", rest):
        try:
            rest, weight = match[1], float(match[2])
        except ValueError:
            raise SourceError(f"--data {text}: {match[2]!r} after @ is not a weight. The form is {SYNTAX}, as in {match[1]}@2.5.") from None
        if not 0 < weight < float("inf"):
            raise SourceError(f"--data {text}: the weight must be above 0, not {weight:g}.")
    rest, _, images = rest.partition(",images=")
    kind, colon, path = rest.partition(":")
    if colon and len(kind) > 1 and re.fullmatch(r"\w+", kind):  # one letter is a Windows drive
        if kind not in KINDS:
            raise SourceError(f"--data {text}: there is no kind {kind!r}. Kinds: {', '.join(KINDS)}. The form is {SYNTAX}.")
    else:
        kind, path = "", rest
    if not path:
        raise SourceError(f"--data {text}: names no path. The form is {SYNTAX}.")
    return DataSpec(str(Path(path).expanduser()), kind, images or None, weight)


def open_source(spec: DataSpec, name: str | None = None) -> Source:
    """The source at a path, indexed where it has to be (shards, with a progress bar). Raises `SourceError`."""
    try:
        return _open(spec, name or _name(spec.path))
    except OSError as error:
        raise SourceError(f"--data {spec.path}: {error.filename or spec.path}: {error.strerror or error}.") from error


def _open(spec: DataSpec, name: str) -> Source:
    kind, path = _recognise(spec)
    if kind == "shards":
        if spec.images:
            raise SourceError(f"--data {spec.path}: shards hold their pictures, so images= says nothing. Leave it out.")
        return ShardSource(str(path), name)
    if spec.images and not Path(spec.images).is_dir():
        raise SourceError(f"--data {spec.path}: images={spec.images} is not a folder.")
    return {"alignment": AlignmentSource, "captions": CaptionSource, "conversations": LlavaSource}[kind](path, spec.images, name)


def build_mixture(
    specs: Sequence[str | DataSpec],
    seed: int = 0,
    shuffle_shards: int = WINDOW_BLOCKS,
    questions: Sequence[str] = (),
    open_picture: PictureOpener = load_picture,
) -> Mixture:
    """The mixture that several `--data` flags describe. Raises `SourceError`."""
    specs = [parse_data_spec(spec) if isinstance(spec, str) else spec for spec in specs]
    weights = [spec.weight for spec in specs]
    if None in weights and any(weight is not None for weight in weights):
        without = specs[weights.index(None)].path
        raise SourceError(f"--data {without} has no weight, and others have one. Give each @WEIGHT, or none to mix by size.")
    names: list[str] = []
    for spec in specs:
        name, number = _name(spec.path), 2
        while name in names:
            name, number = f"{_name(spec.path)}-{number}", number + 1
        names.append(name)
    sources = [open_source(spec, name) for spec, name in zip(specs, names, strict=True)]
    return Mixture(sources, None if None in weights else weights, seed, shuffle_shards, questions, open_picture)


def _name(path: str) -> str:
    """What a source is called in reports: its folder's name."""
    place = Path(path)
    if place.suffix or re.search(r"[*?{\[]", place.name):
        place = place.parent if place.suffix == ".tar" or re.search(r"[*?{\[]", place.name) else place.with_suffix("")
    return place.name or "data"


def _recognise(spec: DataSpec) -> tuple[str, Path | str]:
    """The kind of a source and the file or folder to open."""
    path = Path(spec.path)
    if spec.kind == "shards" or not spec.kind and (path.suffix == ".tar" or not path.exists() and re.search(r"[*?{\[]", spec.path)):
        return "shards", spec.path
    if not path.exists():
        parent = f"{path.parent} holds: {listing(path.parent)}" if path.parent.is_dir() else f"there is no folder {path.parent} either"
        raise SourceError(f"--data {spec.path}: there is nothing at this path; {parent}.")
    if path.is_dir():
        return _recognise_folder(path, spec.kind)
    kind = spec.kind or _recognise_file(path)
    return kind, path


def _recognise_folder(folder: Path, kind: str) -> tuple[str, Path]:
    if kind == "alignment" or not kind and (folder / ANNOTATIONS).is_file():
        return "alignment", folder
    if not kind and any(folder.glob("*.tar")):
        return "shards", folder
    found = [(path, _recognise_file(path, "")) for path in sorted(folder.iterdir()) if path.suffix.lower() in (*SUFFIXES, ".json")]
    found = [(path, what) for path, what in found if what in ("captions", "conversations") and kind in ("", what)]
    if len(found) == 1:
        return found[0][1], found[0][0]
    if found:
        raise SourceError(f"--data {folder}: {', '.join(path.name for path, _ in found)} could all be meant. Name one of them.")
    if kind in ("", "captions") and any(path.suffix.lower() in PICTURES for path in folder.iterdir()):
        raise SourceError(
            f"--data {folder}: the folder holds pictures and nothing that says what they show. Put a captions.csv there, "
            "with the columns image,caption and one line a picture."
        )
    wanted = KINDS[kind] if kind else "; ".join(f"{name}: {words}" for name, words in KINDS.items())
    raise SourceError(f"--data {folder}: the folder holds {listing(folder)}, and none of that is training data. Wanted: {wanted}.")


def _recognise_file(path: Path, otherwise: str | None = None) -> str:
    """The kind of a file, by its suffix and first characters."""
    if path.suffix.lower() in SUFFIXES:
        return "captions"
    if path.suffix.lower() == ".json":
        with path.open("rb") as file:
            head = file.read(4096).decode("utf-8-sig", "replace").lstrip()
        if head.startswith("["):
            return "captions" if '"conversations"' not in head and '"caption"' in head else "conversations"
        if head.startswith("{") and '"annotations"' in head:
            return "alignment"
    if otherwise is not None:
        return otherwise
    raise SourceError(
        f"--data {path}: this file is none of the kinds that can be recognised ({'; '.join(f'{k}: {w}' for k, w in KINDS.items())})."
    )
