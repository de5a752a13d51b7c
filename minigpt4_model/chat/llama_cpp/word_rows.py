"""The embeddings of words as a GGUF file holds them: `WordRows`.

A call of llama.cpp takes words or embeddings, not both. With the words around a picture as embeddings a prompt is read in one call
instead of three, and short ones cost more a position (docs/benchmarks.md). Functions and names are those of llama.cpp's `gguf.h`.
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...weights.errors import WeightsError
from .binding import load_library

_TABLE = b"token_embd.weight"
_POINTER, _PLACE, _SIZE = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t


class _InitParams(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", _POINTER)]


_FUNCTIONS = {
    "gguf_init_from_file": (_POINTER, (ctypes.c_char_p, _InitParams)),
    "gguf_find_tensor": (_PLACE, (_POINTER, ctypes.c_char_p)),
    "gguf_get_tensor_type": (ctypes.c_int, (_POINTER, _PLACE)),
    "gguf_get_tensor_offset": (_SIZE, (_POINTER, _PLACE)),
    "gguf_get_data_offset": (_SIZE, (_POINTER,)),
    "gguf_free": (None, (_POINTER,)),
}


class WordRows:
    """The rows of `words` words, `width` wide; they stay in the file and are read when they are asked for."""

    def __init__(self, gguf: Path, words: int, width: int):
        """Raises `WeightsError` when the file has no such table."""
        from gguf import GGMLQuantizationType, quant_shape_to_byte_shape

        library = load_library()
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        opened = library.gguf_init_from_file(str(gguf).encode(), _InitParams(no_alloc=True, ctx=None))
        if not opened:
            raise WeightsError(f"{gguf}: llama.cpp can't read this model. Remove its folder, and it is made again.")
        try:
            place = library.gguf_find_tensor(opened, _TABLE)
            if place < 0:
                raise WeightsError(f"{gguf} has no embeddings of words.")
            self._kind = GGMLQuantizationType(library.gguf_get_tensor_type(opened, place))
            start = library.gguf_get_data_offset(opened) + library.gguf_get_tensor_offset(opened, place)
        finally:
            library.gguf_free(opened)
        self._rows = np.memmap(gguf, np.uint8, "r", start, quant_shape_to_byte_shape((words, width), self._kind))

    def read(self, ids: Sequence[int]) -> np.ndarray:
        """`(n, width)` in fp32, to the bit what llama.cpp makes of these ids."""
        from gguf import dequantize

        return dequantize(self._rows[list(ids)], self._kind)
