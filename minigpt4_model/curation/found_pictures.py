"""Where pictures are found: a folder of pictures, web shards, or any other source that training knows.

A found picture is still closed: its place and stamp are known before anything is read, so that a second run passes over what the
first one took.
"""

from collections.abc import Callable, Iterator
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


def find_pictures(path: str, with_texts: bool = False) -> Iterator[FoundPicture]:
    """The pictures at `path`, in the same order every time. `with_texts` asks for the texts that are there, too.

    Raises `CurationError` for a path that holds none.
    """
    place = Path(path).expanduser()
    try:
        if with_texts:
            return _of_source(open_source(parse_data_spec(path)), with_texts)
        if place.is_dir() and not any(place.glob("*.tar")):
            files = _files_below(place)
            if not files:
                raise CurationError(f"{path}: there is no picture in this folder or below it ({', '.join(sorted(SUFFIXES))}).")
            return _of_files(place, files)
        if place.is_file() and place.suffix.lower() in SUFFIXES:
            return _of_files(place.parent, [place])
        source = open_source(parse_data_spec(path))
    except SourceError as error:
        raise CurationError(str(error).removeprefix("--data ")) from error
    return _of_shards(source) if isinstance(source, ShardSource) else _of_source(source, with_texts)


def _files_below(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _of_files(folder: Path, files: list[Path]) -> Iterator[FoundPicture]:
    for file in files:
        state = file.stat()
        yield FoundPicture(file.relative_to(folder).as_posix(), f"{state.st_size} {state.st_mtime_ns}", lambda file=file: (file, ""))


def _of_shards(source: ShardSource) -> Iterator[FoundPicture]:
    """Pictures of shards whether or not they have a caption: they are going to be described."""
    for index in range(len(source)):
        yield FoundPicture(source.key(index), source.fingerprint, lambda index=index: (source.picture(index), ""))


def _of_source(source: Source, with_texts: bool) -> Iterator[FoundPicture]:
    for index in range(len(source)):
        yield FoundPicture(source.key(index), source.fingerprint, lambda index=index: _first_picture(source, index, with_texts))


def _first_picture(source: Source, index: int, with_text: bool) -> tuple[ClosedPicture, str]:
    """A sample's first picture and, if asked for, its last answer."""
    sample = source[index]
    if not sample.pictures:
        raise BrokenSample("a conversation without a picture")
    answers = [part["text"] for part in sample.messages[-1]["content"] if part["type"] == "text"] if with_text else []
    return sample.pictures[0], " ".join(answers)
