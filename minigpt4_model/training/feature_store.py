"""Frozen features of pictures on disk, found by what the picture is and by what made them.

A store is a folder for one maker: the vision encoder, or encoder and Q-Former together where the Q-Former is frozen too. Its
name holds a fingerprint of their weights and of the picture's preparation, so other weights never find these features; within
it a row is found by the digest of the picture's content, so an edited picture is another picture.

Rows are appended to shards, `NAME.features` (rows of fp16, nothing else) and `NAME.index` (16 bytes a row). Every writer has
its own shards, so any number of processes may write at once without a lock. A row is named in the index only once it is on
the disk: after a kill the rows that were named are whole, and the others were never there. Knows nothing of models; see
`feature_encoder`.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..weights.cache import write_atomically

logger = logging.getLogger(__name__)

KINDS = ("vision", "qformer")
_KEY_BYTES = 16
_KEY = np.dtype(f"S{_KEY_BYTES}")
_MERGE_AT = 1 << 16  # a dictionary of five million rows would take a gigabyte; sorted arrays take an eighth
_KEPT_FREE = 1 << 30  # of the disk, for checkpoints


class FeatureStoreError(ValueError):
    """Features cannot be kept or read; the text names the folder or flag and the fix."""


@dataclass(frozen=True)
class FeatureSpec:
    """What a store holds: `shape` of one picture's features, of the `kind` "vision" `(N, Dv)` or "qformer" `(T, Dq)`."""

    kind: str
    shape: tuple[int, int]
    fingerprint: str

    @property
    def row_bytes(self) -> int:
        return 2 * self.shape[0] * self.shape[1]

    @property
    def directory_name(self) -> str:
        return f"{self.kind}-{self.fingerprint[:16]}"

    def describe(self, count: int) -> str:
        """The cost in words: "723,712 bytes a picture, 3.6 TB for 5,000,000 pictures"."""
        return f"{self.row_bytes:,} bytes a picture, {in_words(count * self.row_bytes)} for {count:,} pictures"


def in_words(count: float) -> str:
    """Bytes with the unit that suits them."""
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = min(int(math.log10(max(count, 1)) / 3), len(units) - 1)
    return f"{float(f'{count / 1000**power:.3g}'):g} {units[power]}"


def require_disk(directory: Path, spec: FeatureSpec, count: int, smaller: FeatureSpec | None = None) -> str:
    """What the features of `count` pictures cost, in words, where those not yet kept fit on the disk that holds `directory`.

    Raises `FeatureStoreError` with the figures where they do not; `smaller` is another kind that could be kept instead.
    """
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    kept = min(_count_kept(directory, spec), count)
    there = f", of which {kept:,} are kept already" if kept else ""
    if (count - kept) * spec.row_bytes + _KEPT_FREE <= free:
        return f"{spec.describe(count)}{there}; {in_words(free)} are free"
    fix = "Free some space, name a folder on another disk, or leave --cache-features out."
    if smaller is not None and smaller.row_bytes < spec.row_bytes:
        fix = f"The Q-Former is frozen in this run: with --cache-features {smaller.kind} it is {smaller.describe(count)}. Else: {fix}"
    raise FeatureStoreError(f"Features take {spec.describe(count)}{there}, but {existing} has {in_words(free)} free. {fix}")


def _count_kept(directory: Path, spec: FeatureSpec) -> int:
    """How many rows a store in `directory` names; opens and makes nothing."""
    return sum(index.stat().st_size // _KEY_BYTES for index in (directory / spec.directory_name).glob("*.index"))


class FeatureStore:
    """`get(digest)` is a row `(tokens, width)` fp16, mapped from the disk, or None; `add(digests, rows)` keeps new ones.

    `root` holds the folders of all makers. What other processes add is seen after `refresh`. Can be pickled and used after a
    fork: each process writes shards of its own. Raises `FeatureStoreError` when the folder is of another shape.
    """

    def __init__(self, root: Path, spec: FeatureSpec, shard_bytes: int = 16 << 30, flush_s: float = 5.0, refresh_s: float = 5.0):
        self.spec, self.directory = spec, Path(root) / spec.directory_name
        self.shard_bytes, self.flush_s, self.refresh_s = shard_bytes, flush_s, refresh_s
        self.full = False
        self._claim()
        self._start()

    def _start(self) -> None:
        self._shards: list[str] = []
        self._read: dict[str, int] = {}  # rows of each shard's index that are known here
        self._maps: dict[str, np.memmap] = {}
        self._keys, self._places = np.empty(0, _KEY), np.empty(0, np.int64)
        self._recent: dict[bytes, int] = {}
        self._writer: _ShardWriter | None = None
        self._refreshed = 0.0
        self.refresh()

    def _claim(self) -> None:
        """Writes down what the folder holds, or finds it written down."""
        note, ours = self.directory / "store.json", json.loads(json.dumps(asdict(self.spec)))
        try:
            if not note.exists():
                write_atomically(note, json.dumps(ours).encode())
            theirs = json.loads(note.read_bytes())
        except (OSError, ValueError) as error:
            raise FeatureStoreError(f"{note} cannot be used ({error}). Mend its rights, or delete {self.directory}.") from error
        if theirs != ours:
            raise FeatureStoreError(f"{self.directory} holds other features than these ({theirs}, not {ours}): delete it.")

    def __len__(self) -> int:
        return len(self._keys) + len(self._recent)

    def __contains__(self, digest: str) -> bool:
        return self._place(_key(digest)) is not None

    def get(self, digest: str) -> np.ndarray | None:
        """The row of a picture; None when it is not kept. Looks for other processes' rows every `refresh_s` seconds at most."""
        key = _key(digest)
        place = self._place(key)
        if place is None and time.monotonic() - self._refreshed > self.refresh_s:
            self.refresh()
            place = self._place(key)
        return None if place is None else self._row(place)

    def add(self, digests: Sequence[str], rows: np.ndarray) -> None:
        """Keeps `rows` `(n, tokens, width)` fp16; those that are there already are left as they are.

        A full disk ends the keeping, not the training: `full` is then True. Raises `FeatureStoreError` for numbers that
        fp16 cannot hold.
        """
        if rows.dtype != np.float16 or rows.shape[1:] != self.spec.shape:
            raise ValueError(f"rows are {rows.dtype} {rows.shape[1:]}, not float16 {self.spec.shape}")
        if not np.isfinite(rows).all():
            raise FeatureStoreError("Features beyond half precision cannot be kept: train without --cache-features.")
        for digest, row in zip(digests, rows, strict=True):
            key = _key(digest)
            if self.full or self._place(key) is not None:
                continue
            try:
                self._recent[key] = self._append(key, row)
            except OSError as error:
                self._stop(error)
        if len(self._recent) >= _MERGE_AT:
            self._merge(np.empty(0, _KEY), np.empty(0, np.int64))
        if self._writer is not None and self._writer.age > self.flush_s:
            self.flush()

    def flush(self) -> None:
        """Names in the index what was added, for other processes and for later."""
        if self._writer is not None and self._writer.pid == os.getpid():
            try:
                self._writer.flush()
            except OSError as error:
                self._stop(error)

    def _stop(self, error: OSError) -> None:
        logger.warning("%s takes no more features (%s): the encoder goes on computing those that are missing.", self.directory, error)
        self.full, self._writer = True, None

    def close(self) -> None:
        self.flush()
        self._writer = None

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def refresh(self) -> None:
        """Reads what has been named in any shard since the last time."""
        self._refreshed = time.monotonic()
        found_keys, found_places = [], []
        for index in sorted(self.directory.glob("*.index")):
            name = index.stem
            if name not in self._read:
                self._shards.append(name)
                self._read[name] = 0
            known, features = self._read[name], index.with_suffix(".features")
            whole = features.stat().st_size // self.spec.row_bytes if features.exists() else 0
            rows = min(index.stat().st_size // _KEY_BYTES, whole)
            if rows > known:
                with index.open("rb") as file:
                    file.seek(known * _KEY_BYTES)
                    keys = np.frombuffer(file.read((rows - known) * _KEY_BYTES), _KEY)
                found_keys.append(keys)
                found_places.append((self._shards.index(name) << 32) + np.arange(known, known + len(keys), dtype=np.int64))
                self._read[name] = known + len(keys)
        if found_keys:
            self._merge(np.concatenate(found_keys), np.concatenate(found_places))

    def _merge(self, keys: np.ndarray, places: np.ndarray) -> None:
        if len(keys) + len(self._recent) < _MERGE_AT and len(self._keys):
            for key, place in zip(keys, places, strict=True):
                key = bytes(key).ljust(_KEY_BYTES, b"\0")
                if self._place(key) is None:
                    self._recent[key] = int(place)
            return
        recent_keys, recent_places = np.array(list(self._recent), _KEY), np.array(list(self._recent.values()), np.int64)
        keys, places = np.concatenate([self._keys, recent_keys, keys]), np.concatenate([self._places, recent_places, places])
        self._keys, first = np.unique(keys, return_index=True)
        self._places, self._recent = places[first], {}

    def _place(self, key: bytes) -> int | None:
        """`shard number << 32 | row`."""
        if key in self._recent:
            return self._recent[key]
        at = int(np.searchsorted(self._keys, np.array(key, _KEY)))
        return int(self._places[at]) if at < len(self._keys) and self._keys[at] == np.array(key, _KEY) else None

    def _row(self, place: int) -> np.ndarray:
        name, row = self._shards[place >> 32], place & 0xFFFFFFFF
        mapped = self._maps.get(name)
        if mapped is None or row >= len(mapped):
            path = self.directory / f"{name}.features"
            rows = path.stat().st_size // self.spec.row_bytes  # the last one may be torn
            mapped = self._maps[name] = np.memmap(path, np.float16, "r", shape=(rows, *self.spec.shape))
        return mapped[row]

    def _append(self, key: bytes, row: np.ndarray) -> int:
        if self._writer is None or self._writer.pid != os.getpid() or self._writer.bytes >= self.shard_bytes:
            self.flush()
            if shutil.disk_usage(self.directory).free < _KEPT_FREE:
                raise OSError("the disk is nearly full")
            self._writer = _ShardWriter(self.directory)
            self._shards.append(self._writer.name)
        row_number = self._writer.append(key, row)
        self._read[self._writer.name] = row_number + 1
        return self._shards.index(self._writer.name) << 32 | row_number

    def __getstate__(self) -> dict:
        return {name: getattr(self, name) for name in ("spec", "directory", "shard_bytes", "flush_s", "refresh_s", "full")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._start()


class _ShardWriter:
    """Two files that only this process writes. Rows reach the disk before the index names them."""

    def __init__(self, directory: Path):
        self.pid, self.name, self.rows, self.bytes = os.getpid(), uuid.uuid4().hex, 0, 0
        self._features = (directory / f"{self.name}.features").open("xb", buffering=0)
        self._index = (directory / f"{self.name}.index").open("xb", buffering=0)
        self._unnamed: list[bytes] = []
        self._flushed = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last flush."""
        return time.monotonic() - self._flushed

    def append(self, key: bytes, row: np.ndarray) -> int:
        """The number of the new row."""
        data, end = memoryview(np.ascontiguousarray(row)).cast("B"), self.bytes + row.nbytes
        try:
            while self.bytes < end:
                self.bytes += self._features.write(data[len(data) - (end - self.bytes) :])
        except OSError:
            self.bytes = end - row.nbytes
            self._features.truncate(self.bytes)  # a half row would shift all later ones
            self._features.seek(self.bytes)
            raise
        self._unnamed.append(key)
        self.rows += 1
        return self.rows - 1

    def flush(self) -> None:
        self._flushed = time.monotonic()
        if self._unnamed:
            os.fsync(self._features.fileno())
            self._index.write(b"".join(self._unnamed))
            os.fsync(self._index.fileno())
            self._unnamed.clear()


def _key(digest: str) -> bytes:
    return hashlib.blake2b(digest.encode(), digest_size=_KEY_BYTES).digest()
