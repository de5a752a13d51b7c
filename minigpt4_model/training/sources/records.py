"""Many small JSON records as one run of bytes: little memory, and worker processes share it instead of copying it."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .sample import BrokenSample, SourceError


class PackedRecords:
    """`records[i]` is the i-th record, decoded when asked for. Raises `BrokenSample` for one that is no JSON object."""

    def __init__(self, encoded: Iterable[bytes]):
        blob, ends = bytearray(), [0]
        for record in encoded:
            blob += record
            ends.append(len(blob))
        self.blob, self.ends = bytes(blob), np.array(ends, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        try:
            record = json.loads(self.blob[self.ends[index] : self.ends[index + 1]])
        except ValueError:
            raise BrokenSample("the record is not JSON") from None
        if not isinstance(record, dict):
            raise BrokenSample("the record is not an object", f"the record is {type(record).__name__}, not an object")
        return record

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.blob + self.ends.tobytes()).hexdigest()[:16]


def json_array(text: str, name: str) -> Iterator[bytes]:
    """The elements of a JSON array, one by one, so that a gigabyte of them never becomes objects at once.

    Raises `SourceError` naming the file `name` where it stops being JSON.
    """
    decoder, position = json.JSONDecoder(), _skip(text, 0)
    if text[position : position + 1] != "[":
        raise SourceError(f"{name} is not a JSON list.")
    position = _skip(text, position + 1)
    while text[position : position + 1] != "]":
        try:
            _, end = decoder.raw_decode(text, position)
        except ValueError as error:
            raise SourceError(f"{name} is damaged or cut off: {error}. Fetch it again.") from None
        yield text[position:end].encode("utf-8", "surrogatepass")
        position = _skip(text, end)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
        elif text[position : position + 1] != "]":
            raise SourceError(f"{name} is damaged or cut off at character {position}. Fetch it again.")


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position
