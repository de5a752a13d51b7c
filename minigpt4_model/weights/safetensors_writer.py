"""Writes safetensors files as a stream: every tensor is fetched when its turn comes, written and forgotten.

The library's own writer wants all tensors of a file in memory at once. Here the header is written first, from shapes and types, so
the memory needed is that of the largest tensor. What is written is what `safetensors` reads (its format's specification).
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .progress import Progress, silent
from .tensor_files import TensorInfo

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 2_000_000_000  # loading holds one of them at a time
_BLOCK = 16 << 20
_TYPE_NAMES = {
    "torch.float64": "F64", "torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16",
    "torch.int64": "I64", "torch.int32": "I32", "torch.int16": "I16", "torch.int8": "I8", "torch.uint8": "U8", "torch.bool": "BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor to be written: its name in the new file, what it will be, how to get it when its turn comes, and where it is from."""

    name: str
    info: TensorInfo
    fetch: Callable[[], "torch.Tensor"]
    origin: str = ""


def write_model(
    directory: Path, tensors: Sequence[PlannedTensor], shard_bytes: int = SHARD_BYTES, progress: Progress = silent
) -> list[Path]:
    """`model.safetensors` in `directory`, or several numbered files with an index, in the order of `tensors`. Returns the files."""
    shards = _share_out(tensors, shard_bytes)
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    names = names if len(shards) > 1 else ["model.safetensors"]
    total, done = max(sum(tensor.info.size_bytes for tensor in tensors), 1), 0
    for name, shard in zip(names, shards, strict=True):
        done += _write_file(directory / name, shard, lambda written, before=done: progress("Writing the model", (before + written) / total))
    if len(shards) > 1:
        weight_map = {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return [directory / name for name in names]


def _share_out(tensors: Sequence[PlannedTensor], shard_bytes: int) -> list[list[PlannedTensor]]:
    shards: list[list[PlannedTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if shards[-1] and size + tensor.info.size_bytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.info.size_bytes
    return shards


def _write_file(path: Path, tensors: Sequence[PlannedTensor], progress: Callable[[int], None]) -> int:
    """Writes one file and waits until it is on the disk. Returns how many bytes its tensors have."""
    # Wide types first: every tensor then lies at a multiple of its element's size, as readers that map the file need it.
    ordered = sorted(tensors, key=lambda tensor: -tensor.info.dtype.itemsize)
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in ordered:
        end = offset + tensor.info.size_bytes
        header[tensor.name] = {
            "dtype": _TYPE_NAMES[str(tensor.info.dtype)],
            "shape": list(tensor.info.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    written = 0
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for tensor in ordered:
            for block in _bytes_of(tensor):
                file.write(block)
                written += len(block)
                progress(written)
        file.flush()
        os.fsync(file.fileno())
    return written


def _bytes_of(planned: PlannedTensor):
    """The tensor's bytes, little-endian and row by row, in blocks; refuses one that is not as planned."""
    import torch

    tensor = planned.fetch()
    if tuple(tensor.shape) != planned.info.shape or tensor.dtype != planned.info.dtype:
        raise AssertionError(f"{planned.name} was planned as {planned.info}, and is {tuple(tensor.shape)} {tensor.dtype}.")
    raw = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy()
    for start in range(0, raw.size, _BLOCK):
        yield raw[start : start + _BLOCK].data
