"""Tensors in safetensors files, read one by one when they are asked for, so that a model is never in memory twice.

`stored[...]` maps the tensor's own bytes of the file, and no others, until the tensor is freed. (safetensors' own slices map the
whole file while it is open, and what was read of it counts as this process's memory: converting a shard doubles the peak of loading.)
"""

import ctypes
import json
import mmap
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from .errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a safetensors file, with the part of safetensors' slices that transformers' loader asks for.

    `start` and `stop` are bytes of the file, `dtype` is as safetensors writes it ("F16").
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    start: int
    stop: int

    def __getitem__(self, index: EllipsisType) -> "Tensor":
        import torch

        dtype = getattr(torch, _DTYPES[self.dtype])
        if self.start == self.stop:
            return torch.empty(self.shape, dtype=dtype)[index]
        page = self.start // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        with self.path.open("rb") as file:
            # The system's copy on writing: torch wants to be allowed to write, and the file must stay as it is.
            mapped = mmap.mmap(file.fileno(), self.stop - page, access=mmap.ACCESS_COPY, offset=page)
        tensor = torch.frombuffer(mapped, dtype=torch.uint8, count=self.stop - self.start, offset=self.start - page)
        if self.start % dtype.itemsize:
            tensor = tensor.clone()
        return tensor.view(dtype).view(self.shape)[index]

    def get_shape(self) -> list[int]:
        return list(self.shape)

    def get_dtype(self) -> str:
        return self.dtype


_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def open_file(path: Path) -> dict[str, StoredTensor]:
    """The stored tensors of one file by name. Raises `FileNotFoundError`, or `SafetensorError` where the file is damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing.")
    with safe_open(path, framework="pt"):
        pass  # that the header is one, and that the file is as long as it says
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    strange = sorted({entry["dtype"] for entry in header.values()} - set(_DTYPES))
    if strange:
        raise SafetensorError(f"{path.name} has tensors of the type {', '.join(strange)}, which no model here has")
    return {
        name: StoredTensor(path, tuple(entry["shape"]), entry["dtype"], *(8 + length + offset for offset in entry["data_offsets"]))
        for name, entry in header.items()
    }


def open_directory(directory: Path) -> dict[str, StoredTensor]:
    """The stored tensors of all shards of a model's directory, which `model.safetensors.index.json` lists, or of the only file.

    Raises as `open_file`, and `WeightsError` where the index is damaged.
    """
    index = directory / _INDEX
    if not index.exists():
        return open_file(directory / _SINGLE)
    try:
        shards = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index} is damaged ({error}). Restore it from where the model came from.") from error
    return {name: tensor for shard in shards for name, tensor in open_file(directory / shard).items()}


def read_all(stored: Mapping[str, Any]) -> dict[str, "Tensor"]:
    """Every tensor of `stored` in memory; what is there already stays as it is."""
    return {name: tensor[...] for name, tensor in stored.items()}


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_WHILE_LOADING, _AFTERWARDS = 1 << 20, 32 << 20


@contextmanager
def returned_memory() -> Iterator[None]:
    """Inside, memory of tensors that are freed goes back to the system at once, with glibc; elsewhere this does nothing.

    Loading frees a tensor for each that it converts or quantises. glibc keeps blocks below its threshold, which rises to 32 MB,
    for later, and what stays lies scattered among them: up to half of a small model's size. Afterwards the thresholds are what
    they would have risen to by themselves.
    """
    mallopt = _find_mallopt()
    if mallopt is None:
        yield
        return
    mallopt(_M_MMAP_THRESHOLD, _WHILE_LOADING)
    try:
        yield
    finally:
        mallopt(_M_MMAP_THRESHOLD, _AFTERWARDS)
        mallopt(_M_TRIM_THRESHOLD, 2 * _AFTERWARDS)


def _find_mallopt() -> Any | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  other C libraries have a mallopt of another meaning
        return library.mallopt
    except (OSError, AttributeError):
        return None
