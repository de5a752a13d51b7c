"""Photographs with names: a few hundred openly licensed ones out of two Debian packages, made small and cached.

What each shows is `snapshots.txt`, written by people who looked. They lie in `<cache>/corpus/photographs/COLLECTION/` as WebP,
with `index.jsonl`, one line per picture: what it shows, its licence, its author, where it comes from. Only pictures whose licence is
open and stated are taken. Unlike sprites most of them fill their frame; `cutout` tells the others apart. Reading needs no network.
"""

import io
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import PIL.Image
import PIL.ImageOps

from .attribution import Attribution, open_licence, read_attributions
from .collections import PHOTOGRAPH_COLLECTIONS, Collection, CorpusError, corpus_home, fetch, fingerprint
from .qt_resources import read_resources
from .wording import KINDS

logger = logging.getLogger(__name__)

SIDE = 640
_FORMAT = "1"  # another number and every cached picture is made again
_GCOMPRIS = "gcompris/src/activities/"
_PICTURES = (".webp", ".jpg", ".gif", ".png")


@dataclass(frozen=True)
class Photograph:
    """One photograph. The longer side is at most 640 pixels. `synonyms` are lower case and hold the label as well.

    Around what a `cutout` shows the picture is transparent; without its alpha channel it stands on white.
    """

    path: Path
    label: str
    synonyms: tuple[str, ...]
    kind: str
    licence: str
    author: str
    source: str
    cutout: bool = False


@dataclass(frozen=True)
class Shown:
    """One picture of the table: `file` is its path inside the collection, without suffix."""

    collection: str
    file: str
    label: str
    kind: str
    synonyms: tuple[str, ...]


@dataclass(frozen=True)
class Original:
    """A picture as its package has it, and who made it; None where the package states no licence."""

    content: bytes
    attribution: Attribution | None


def photographs_home(root: Path | None = None) -> Path:
    return (root or corpus_home()) / "photographs"


def load_photographs(root: Path | None = None) -> list[Photograph]:
    """Every photograph that was built, in the order of the table. Raises `CorpusError`, with the command, when there are none."""
    target = photographs_home(root)
    found = []
    for row in PHOTOGRAPH_COLLECTIONS:
        if (target / row.name / "index.jsonl").is_file():
            found += _read_index(target / row.name)
    if not found:
        raise CorpusError(f"{target} holds no photographs: build them with `python -m minigpt4_model.training.pocket.build`, on Debian 12.")
    return found


def _read_index(directory: Path) -> list[Photograph]:
    rows = (json.loads(line) for line in (directory / "index.jsonl").read_text("utf-8").splitlines())
    return [Photograph(**{**row, "path": directory / row["path"], "synonyms": tuple(row["synonyms"])}) for row in rows]


def read_table(text: str | None = None) -> list[Shown]:
    """The lines of `snapshots.txt`, one entry per file. Raises ValueError for a malformed line or a picture that is named twice."""
    text = text if text is not None else resources.files(__package__).joinpath("snapshots.txt").read_text("utf-8")
    found: dict[tuple[str, str], Shown] = {}
    collection = folder = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("["):
            collection, _, folder = (part.strip() for part in line[1:].partition("]"))
            continue
        files, label, kind, others = _columns(line, number)
        synonyms = tuple(dict.fromkeys(word.strip().lower() for word in (label, *others.split(",")) if word.strip()))
        for file in files.split():
            key = (collection, f"{folder}/{file}")
            if not collection or key in found:
                raise ValueError(f"snapshots.txt, line {number}: {file} is named twice or stands before the first [collection].")
            found[key] = Shown(*key, label, kind or "count", synonyms)
    return list(found.values())


def _columns(line: str, number: int) -> list[str]:
    columns = [column.strip() for column in line.split("|")]
    if len(columns) != 4 or not columns[0] or not columns[1]:
        raise ValueError(f"snapshots.txt, line {number}: four columns are wanted, of which the first two must not be empty.")
    if columns[2] and columns[2] not in KINDS:
        raise ValueError(f"snapshots.txt, line {number}: {columns[2]!r} is no kind; kinds are {', '.join(KINDS)}.")
    return columns


def build_photographs(row: Collection, root: Path | None = None, limit: int | None = None) -> list[Photograph]:
    """Fetches a package of `PHOTOGRAPH_COLLECTIONS` and writes its pictures, made small, with their index: all of them or nothing.

    Pictures that an earlier run wrote are used again; `limit` takes the first N. Raises `CorpusError` when the package cannot be had or
    holds nothing that can be used.
    """
    directory, target = fetch(row, root), photographs_home(root) / row.name
    wanted = [shown for shown in read_table() if shown.collection == row.name][:limit]
    made_of = fingerprint(_FORMAT, repr(row), *map(repr, wanted))
    if (target / "made-of").is_file() and (target / "made-of").read_text("utf-8") == made_of:
        return _read_index(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{row.name}-") as scratch:
        made = Path(scratch, row.name)
        made.mkdir()
        _write(row, directory, wanted, made)
        (made / "made-of").write_text(made_of, "utf-8")
        if target.exists():
            shutil.rmtree(target)
        made.rename(target)
    return _read_index(target)


def _write(row: Collection, directory: Path, wanted: list[Shown], target: Path) -> None:
    """The pictures and the index of one collection, into an empty directory."""
    from tqdm import tqdm

    originals = dict(_originals(row, directory))
    lines, left_out = [], []
    for shown in tqdm(wanted, desc=f"{row.name} photographs", unit="picture", mininterval=1):
        original = originals.get(shown.file)
        licence = open_licence(original.attribution.licence) if original and original.attribution else None
        path = target / f"{shown.file}.webp"
        try:
            if original is None or licence is None:
                raise ValueError("it is not in the package, or under no open licence")
            path.parent.mkdir(parents=True, exist_ok=True)
            cutout = _write_small(original.content, path)
        except (OSError, ValueError) as error:
            logger.debug("%s/%s is left out: %s", row.name, shown.file, error)
            left_out.append(shown.file)
            continue
        made_by = original.attribution
        entry = Photograph(path, shown.label, shown.synonyms, shown.kind, licence, made_by.author, made_by.source, cutout)
        inside = path.relative_to(target).as_posix()
        lines.append(json.dumps(asdict(entry) | {"path": inside}, ensure_ascii=False) + "\n")
    if not lines:
        raise CorpusError(f"{row.name}: none of its {len(wanted)} photographs could be read. Delete {directory} and build again.")
    if left_out:
        logger.warning("%s: left out are %d missing, unreadable or not open ones: %s", row.name, len(left_out), ", ".join(left_out))
    (target / "index.jsonl").write_text("".join(lines), "utf-8")


def _originals(row: Collection, directory: Path) -> Iterator[tuple[str, Original]]:
    """Path without suffix -> picture, for everything that the package holds."""
    if row.name == "gcompris":
        for file in sorted(directory.glob("rcc/*.rcc")):
            try:
                content = {path.removeprefix(_GCOMPRIS): data for path, data in read_resources(file).items()}
            except ValueError as error:
                raise CorpusError(f"{error} Delete {directory} and build again.") from error
            attributions = {
                f"{path.removesuffix('README')}{listed}": attribution
                for path, data in content.items() if path.endswith("/README")
                for listed, attribution in read_attributions(data.decode("utf-8", errors="replace")).items()
            }  # fmt: skip
            for path, data in content.items():
                if path.endswith(_PICTURES):
                    yield path.rpartition(".")[0], Original(data, attributions.get(path))
    else:  # one licence for the whole folder
        media = directory / Path(row.folder).name
        for file in sorted(media.rglob("*")):
            if file.suffix.lower() in _PICTURES:
                path = file.relative_to(media).with_suffix("").as_posix()
                yield path, Original(file.read_bytes(), Attribution(row.licence, row.author, row.homepage))


def _write_small(content: bytes, path: Path) -> bool:
    """Writes a picture as WebP and returns whether parts of it are transparent. Raises OSError or ValueError for a broken one."""
    with PIL.Image.open(io.BytesIO(content)) as opened:
        picture = PIL.ImageOps.exif_transpose(opened).convert("RGBA")
    picture.thumbnail((SIDE, SIDE), PIL.Image.Resampling.LANCZOS)
    alpha = picture.getchannel("A")
    cutout = alpha.getextrema()[0] < 128
    if cutout:  # what cannot be seen is white, so that the picture is right without its alpha channel as well
        seen = alpha.point(lambda value: 255 if value else 0)
        picture = PIL.Image.composite(picture, PIL.Image.new("RGBA", picture.size, (255, 255, 255, 0)), seen)
    else:
        picture = picture.convert("RGB")
    picture.save(path, "WEBP", quality=90, exact=True)
    return cutout
