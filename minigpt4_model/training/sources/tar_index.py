"""Where the members of a tar shard lie, so that any pair can be read without reading through.

A shard's index is an array with one row per pair: offset and size of the picture, of the `.txt` and of the `.json`, 0 and 0 where
there is none. It is made once by looking at the headers alone, and kept in `.minigpt4-index` beside the shards, or in the cache
home where that folder cannot be written; a shard with another size or time is indexed again. Shards are indexed side by side,
and an interrupted indexing goes on where it stopped.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...weights.cache import home, locked, write_atomically
from ...weights.progress import console
from .tar_headers import TarDamage, tar_members

PICTURE, TEXT, JSON = 0, 2, 4  # columns of an index row: where the offset stands; the size follows
_PICTURE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic")
COLUMNS = {**dict.fromkeys(_PICTURE_SUFFIXES, PICTURE), "txt": TEXT, "json": JSON}
VERSION = 1
FOLDER = ".minigpt4-index"
_THREADS = 4  # reading headers waits for the disk more than it computes


@dataclass(frozen=True)
class ShardIndex:
    """One shard: its size in bytes, how many pairs it has, where its index lies, and what is wrong with it ("" if nothing)."""

    path: Path
    size: int
    count: int
    rows_path: Path
    problem: str

    def rows(self) -> np.ndarray:
        """`(count, 6)` int64: half a megabyte for a shard of 10,000 pairs."""
        return np.load(self.rows_path)


def index_shards(shards: list[Path]) -> list[ShardIndex]:
    """The index of every shard, made where it is missing. Raises `OSError` when a shard cannot be read.

    Of several processes that start together one makes it and the others wait.
    """
    found = {shard: _read_index(shard) for shard in shards}
    for parent in sorted({shard.parent for shard, index in found.items() if index is None}):
        folder = _writable_folder(parent)
        missing = [shard for shard, index in found.items() if index is None and shard.parent == parent]
        with locked(folder / ".lock", f"the index of {parent}", console):
            found.update(_build_missing(missing, folder))
    return [found[shard] for shard in shards]


def _build_missing(shards: list[Path], folder: Path) -> Iterator[tuple[Path, ShardIndex]]:
    def build(shard: Path) -> ShardIndex:
        return _read_index(shard) or build_index(shard, folder)

    with ThreadPoolExecutor(_THREADS) as pool, tqdm(total=len(shards), unit="shard", desc="indexing shards (once)") as bar:
        for shard, index in zip(shards, pool.map(build, shards), strict=True):
            bar.update()
            yield shard, index


def build_index(shard: Path, folder: Path) -> ShardIndex:
    """Reads a shard's headers and writes its index into `folder`."""
    stat = shard.stat()
    rows, problem = _scan(shard)
    buffer = io.BytesIO()
    np.save(buffer, rows)
    write_atomically(folder / f"{shard.name}.npy", buffer.getvalue())
    facts = {"version": VERSION, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "count": len(rows), "problem": problem}
    write_atomically(folder / f"{shard.name}.json", json.dumps(facts).encode())  # last: it says that the rows are there
    return ShardIndex(shard, stat.st_size, len(rows), folder / f"{shard.name}.npy", problem)


def _read_index(shard: Path) -> ShardIndex | None:
    """The index of a shard from where it is kept; None where there is none that fits."""
    stat = shard.stat()
    for folder in _index_folders(shard.parent):
        try:
            facts = json.loads((folder / f"{shard.name}.json").read_bytes())
            rows_path = folder / f"{shard.name}.npy"
            if (facts["version"], facts["size"], facts["mtime_ns"]) == (VERSION, stat.st_size, stat.st_mtime_ns) and rows_path.exists():
                return ShardIndex(shard, stat.st_size, facts["count"], rows_path, facts["problem"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not there, or damaged: made again
    return None


def _index_folders(shards: Path) -> tuple[Path, Path]:
    """Where the index of a folder of shards may be: beside them, or in the cache home."""
    place = hashlib.sha256(str(shards.absolute()).encode()).hexdigest()[:16]
    return shards / FOLDER, home() / "shard-index" / place


def _writable_folder(shards: Path) -> Path:
    beside, cached = _index_folders(shards)
    try:
        beside.mkdir(exist_ok=True)
        if os.access(beside, os.W_OK):
            return beside
    except OSError:
        pass
    return cached


def _scan(shard: Path) -> tuple[np.ndarray, str]:
    """The rows of a shard, and in words what is wrong with it. Members that are cut off are left out."""
    pairs: dict[str, list[int]] = {}
    problem, last = "", ""
    try:
        for name, offset, size in tar_members(shard):
            column, stem = _column(name)
            if column is not None:
                last = stem
                pairs.setdefault(stem, [0] * 6)[column : column + 2] = offset, size
    except TarDamage as error:
        problem = f"{shard} {error}"
    if problem and last and not (pairs[last][PICTURE] and (pairs[last][TEXT] or pairs[last][JSON])):
        del pairs[last]  # the pair in which the file was cut off
    return np.array(list(pairs.values()), dtype=np.int64).reshape(-1, 6), problem and f"{problem}: its {len(pairs)} whole pairs are used."


def _column(name: str) -> tuple[int | None, str]:
    """Which column of the index a member belongs to, and the pair's name: what stands before the first dot, as in webdataset."""
    folder, slash, last = name.rpartition("/")
    stem, _, suffix = last.partition(".")
    return (COLUMNS.get(suffix.lower()) if stem else None), folder + slash + stem  # without a stem it is a hidden file
