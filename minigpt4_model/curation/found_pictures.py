"""Where pictures are found: a folder of pictures, web shards, or any other source that training knows.

A found picture is still closed: its place and stamp are known before anything is read, so that a second run passes over what the
first one took.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..training.sources import BrokenSample, SourceError, open_source, parse_data_spec
from ..training.sources.sample import ClosedPicture, Source
from ..training.sources.shards import ShardSource
from .errors import CurationError

# A file with another ending is no picture; whether one of these is, its content decides.
SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"])


@dataclass(frozen=True)
class FoundPicture:
    """`read` gives the picture and the text that its source has for it, "" where there is none. It raises `BrokenSample`."""

    place: str
    stamp: str
    read: Callable[[], tuple[ClosedPicture, str]]


@dataclass(frozen=True)
class FoundPictures:
    """Pictures by number, looked for when asked for: of millions in shards only those that are taken cost anything."""

    count: int
    find: Callable[[int], FoundPicture]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> FoundPicture:
        return self.find(index)


def find_pictures(path: str, with_texts: bool = False) -> FoundPictures:
    """The pictures at `path`, in the same order every time. `with_texts` asks for the texts that are there, too.

    Raises `CurationError` for a path that holds none.
    """
    place = Path(path).expanduser()
    try:
        if not with_texts and place.is_dir() and not any(place.glob("*.tar")):
            files = _files_below(place)
            if not files:
                raise CurationError(f"{path}: there is no picture in this folder or below it ({', '.join(sorted(SUFFIXES))}).")
            return FoundPictures(len(files), lambda index: _of_file(place, files[index]))
        if not with_texts and place.is_file() and place.suffix.lower() in SUFFIXES:
            return FoundPictures(1, lambda index: _of_file(place.parent, place))
        source = open_source(parse_data_spec(path))
    except SourceError as error:
        raise CurationError(str(error).removeprefix("--data ")) from error
    # A shard's picture is going to be described, so it needs no caption.
    read = _picture_alone if isinstance(source, ShardSource) and not with_texts else _picture_and_text
    stamp = source.fingerprint

    def find(index: int) -> FoundPicture:
        return FoundPicture(source.key(index), stamp, lambda: read(source, index, with_texts))

    return FoundPictures(len(source), find)


def _files_below(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _of_file(folder: Path, file: Path) -> FoundPicture:
    state = file.stat()
    return FoundPicture(file.relative_to(folder).as_posix(), f"{state.st_size} {state.st_mtime_ns}", lambda: (file, ""))


def _picture_alone(source: ShardSource, index: int, with_text: bool) -> tuple[ClosedPicture, str]:
    return source.picture(index), ""


def _picture_and_text(source: Source, index: int, with_text: bool) -> tuple[ClosedPicture, str]:
    """A sample's first picture and, if asked for, its last answer."""
    sample = source[index]
    if not sample.pictures:
        raise BrokenSample("a conversation without a picture")
    answers = [part["text"] for part in sample.messages[-1]["content"] if part["type"] == "text"] if with_text else []
    return sample.pictures[0], " ".join(answers)
