"""Webdataset shards as img2dataset writes them for LAION, Conceptual Captions and SBU: `00000.tar` with KEY.jpg, KEY.txt, KEY.json.

The caption is the `.txt`, or "caption" in the `.json`. Any pair is read by its place (`tar_index`), so order and resume
never depend on reading through.
"""

import glob
import hashlib
import itertools
import json
import os
import re
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from .sample import BrokenSample, Sample, Source, SourceError, caption_messages
from .tar_index import JSON, PICTURE, TEXT, ShardIndex, index_shards

_OPEN_SHARDS = 32  # more than a shuffle window has, so that replacements do not close what is in use
_BLOCK = 512  # a tar header, which stands right before its member


class ShardSource(Source):
    """Pairs of all shards in the order of their names. `pattern` is a folder, a file, a glob or a brace range `{00000..00099}.tar`.

    Raises `SourceError` when there are no shards or none can be used.
    """

    def __init__(self, pattern: str, name: str = "shards"):
        super().__init__(name)
        paths, missing = find_shards(pattern)
        indices = index_shards(paths)
        self.notices = [*missing, *(index.problem for index in indices if index.problem)]
        self.shards: list[ShardIndex] = [index for index in indices if index.count]
        if not self.shards:
            found = self.notices[0] if self.notices else "no tar file there has a picture in it."
            raise SourceError(f"--data {pattern} holds no pairs: {found} Shards hold KEY.jpg with KEY.txt or KEY.json.")
        self._starts = np.concatenate([[0], np.cumsum([index.count for index in self.shards])])
        self._reset()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Sample:
        shard, row = self._locate(index)
        header, picture = self._picture(shard, row)
        messages = caption_messages(picture, self._caption(shard, row))
        return Sample(f"{shard.path.name}/{_stem(header)}", messages, self.name, index)

    def picture(self, index: int) -> bytes:
        """A sample's picture, whether or not it has a caption. Raises `BrokenSample`."""
        return self._picture(*self._locate(index))[1]

    def key(self, index: int) -> str:
        shard, row = self._locate(index)
        offset = next(int(row[column]) for column in (PICTURE, TEXT, JSON) if row[column] > 0)
        try:
            return f"{shard.path.name}/{_stem(self._read(shard, offset - _BLOCK, _BLOCK))}"
        except BrokenSample:
            return f"{shard.path.name} (sample {index})"

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(b"shards")
        for shard in self.shards:
            digest.update(f"{shard.path.name} {shard.size} {shard.count}\n".encode())
        return digest.hexdigest()[:16]

    @property
    def blocks(self) -> list[int]:
        return [shard.count for shard in self.shards]

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name not in ("_files", "_rows", "_lock", "_process")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        self._files: OrderedDict = OrderedDict()
        self._rows: OrderedDict = OrderedDict()
        self._lock, self._process = threading.Lock(), os.getpid()

    def _locate(self, index: int) -> tuple[ShardIndex, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} samples; there is no {index}.")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        shard = self.shards[number]
        rows = self._rows.get(number)
        if rows is None:
            try:
                rows = self._rows[number] = shard.rows()
            except OSError as error:
                raise SourceError(f"{shard.rows_path}, an index of --data {self.name}, is gone: start again to make it.") from error
            while len(self._rows) > _OPEN_SHARDS:
                self._rows.popitem(last=False)
        return shard, rows[index - self._starts[number]]

    def _picture(self, shard: ShardIndex, row: np.ndarray) -> tuple[bytes, bytes]:
        """The header and the bytes of a picture."""
        if not row[PICTURE]:
            raise BrokenSample("no picture")
        if not row[PICTURE + 1]:
            raise BrokenSample("the picture has no bytes")
        read = self._read(shard, row[PICTURE] - _BLOCK, _BLOCK + row[PICTURE + 1])
        return read[:_BLOCK], read[_BLOCK:]

    def _caption(self, shard: ShardIndex, row: np.ndarray) -> str | None:
        if row[TEXT]:
            return self._read(shard, row[TEXT], row[TEXT + 1]).decode("utf-8", "replace")
        if not row[JSON]:
            return None
        try:
            return json.loads(self._read(shard, row[JSON], row[JSON + 1])).get("caption")
        except (ValueError, AttributeError):
            raise BrokenSample("the caption's JSON cannot be read") from None

    def _read(self, shard: ShardIndex, offset: int, size: int) -> bytes:
        if self._process != os.getpid():
            self._reset()  # after a fork: shared file positions would move under each other's feet
        try:
            with self._lock:
                file = self._files.get(shard.path)
                if file is None:
                    file = self._files[shard.path] = open(shard.path, "rb", buffering=0)  # noqa: SIM115 - closed when it leaves the cache
                    while len(self._files) > _OPEN_SHARDS:
                        self._files.popitem(last=False)[1].close()
                self._files.move_to_end(shard.path)
                file.seek(int(offset))
                data = _read_fully(file, int(size))
        except OSError as error:
            raise BrokenSample("the shard cannot be read", f"{shard.path}: {error.strerror}") from None
        if len(data) < size:
            raise BrokenSample("the shard is shorter than when it was indexed", f"{shard.path} was changed while it is in use")
        return data


def _read_fully(file, size: int) -> bytes:
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _stem(header: bytes) -> str:
    return header[:100].split(b"\0")[0].decode("utf-8", "replace").rpartition("/")[2].partition(".")[0]


def expand_braces(pattern: str) -> list[str]:
    """`a{00..02}.tar` as three names, `{x,y}` as two; several braces give every combination. A range keeps its zeros."""
    pieces = re.split(r"(\{[^{}]*\})", pattern)
    choices = []
    for piece in pieces:
        inner = piece[1:-1]
        if not (piece.startswith("{") and piece.endswith("}")):
            choices.append([piece])
        elif span := re.fullmatch(r"(\d+)\.\.(\d+)", inner):
            first, last = int(span[1]), int(span[2])
            width = len(span[1]) if span[1].startswith("0") or len(span[1]) == len(span[2]) else 0
            if last < first:
                raise SourceError(f"--data {pattern}: the range {piece} ends before it begins.")
            choices.append([f"{number:0{width}d}" for number in range(first, last + 1)])
        elif "," in inner:
            choices.append(inner.split(","))
        else:
            choices.append([piece])
    return ["".join(combination) for combination in itertools.product(*choices)]


def find_shards(pattern: str) -> tuple[list[Path], list[str]]:
    """The tar files that a folder, file, glob or brace range names, sorted, and a sentence if some of a range are missing.

    Raises `SourceError` when there are none.
    """
    folder = Path(pattern)
    if folder.is_dir():
        found = sorted(folder.glob("*.tar"))
        if not found:
            raise SourceError(f"--data {pattern}: there is no .tar file in this folder. It holds: {listing(folder)}.")
        return found, []
    if "{" in pattern and not folder.exists():
        named = expand_braces(pattern)
        found = [Path(path) for path in named if Path(path).is_file()]
        if not found:
            raise SourceError(f"--data {pattern}: none of {len(named)} shards is there. {_beside(Path(named[0]))}")
        missing = [path for path in named if not Path(path).is_file()]
        return found, [f"{len(missing)} of {len(named)} shards are not there, {missing[0]} for one." for _ in missing[:1]]
    found = [folder] if folder.is_file() else sorted(Path(path) for path in glob.glob(pattern) if path.endswith(".tar"))
    if not found:
        raise SourceError(f"--data {pattern}: there is no such file. {_beside(folder)}")
    return found, []


def listing(folder: Path, most: int = 6) -> str:
    """What lies in a folder, in a few words."""
    names = sorted(
        f"{path.name}/" if path.is_dir() else path.name for path in itertools.islice(folder.iterdir(), 1000) if path.name[0] != "."
    )
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") if names else "nothing"


def _beside(path: Path) -> str:
    return f"{path.parent} holds: {listing(path.parent)}." if path.parent.is_dir() else f"There is no folder {path.parent}."
