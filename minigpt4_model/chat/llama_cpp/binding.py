"""llama.cpp's C functions, as many as an answer needs: `load_library()`, and `LlamaContext`, a model with its key-value cells.

The structures are those of one build (`weights/llama_cpp_library.py` pins it), and their default values are compared with what is known
of that build before anything else is called, so that another layout is refused and not run into. A context belongs to one thread at a
time. Knows nothing of conversations, pictures or sampling. Functions and names are those of llama.cpp's `include/llama.h`.
"""

import ctypes
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ...weights.errors import WeightsError
from ...weights.llama_cpp_library import PACKAGE, VERSION, find_library

log = logging.getLogger(__name__)

_FLOAT = ctypes.c_float
_INT = ctypes.c_int32
_UNSIGNED = ctypes.c_uint32
_POINTER = ctypes.c_void_p
_FLAG = ctypes.c_bool
_SIZE = ctypes.c_size_t
# Behind each structure that comes back by value: were it longer in the library than here, nothing else would be written over.
_SPARE = ("spare", ctypes.c_byte * 256)


class _ModelParams(ctypes.Structure):
    _fields_ = [
        ("devices", _POINTER),
        ("tensor_buft_overrides", _POINTER),
        ("n_gpu_layers", _INT),
        ("split_mode", _INT),
        ("load_mode", _INT),
        ("lazy_mode", _INT),
        ("main_gpu", _INT),
        ("tensor_split", _POINTER),
        ("progress_callback", _POINTER),
        ("progress_callback_user_data", _POINTER),
        ("kv_overrides", _POINTER),
        ("vocab_only", _FLAG),
        ("check_tensors", _FLAG),
        ("use_extra_bufts", _FLAG),
        ("no_host", _FLAG),
        ("no_alloc", _FLAG),
        ("load_mtp", _FLAG),
        _SPARE,
    ]


class _ContextParams(ctypes.Structure):
    _fields_ = [
        ("n_ctx", _UNSIGNED),
        ("n_batch", _UNSIGNED),
        ("n_ubatch", _UNSIGNED),
        ("n_seq_max", _UNSIGNED),
        ("n_rs_seq", _UNSIGNED),
        ("n_outputs_max", _UNSIGNED),
        ("n_outputs_max_per_seq", _UNSIGNED),
        ("n_threads", _INT),
        ("n_threads_batch", _INT),
        ("ctx_type", _INT),
        ("rope_scaling_type", _INT),
        ("pooling_type", _INT),
        ("attention_type", _INT),
        ("flash_attn_type", _INT),
        ("rope_freq_base", _FLOAT),
        ("rope_freq_scale", _FLOAT),
        ("yarn_ext_factor", _FLOAT),
        ("yarn_attn_factor", _FLOAT),
        ("yarn_beta_fast", _FLOAT),
        ("yarn_beta_slow", _FLOAT),
        ("yarn_orig_ctx", _UNSIGNED),
        ("defrag_thold", _FLOAT),
        ("cb_eval", _POINTER),
        ("cb_eval_user_data", _POINTER),
        ("type_k", _INT),
        ("type_v", _INT),
        ("moe_cache_size", _SIZE),
        ("abort_callback", _POINTER),
        ("abort_callback_data", _POINTER),
        ("embeddings", _FLAG),
        ("offload_kqv", _FLAG),
        ("no_perf", _FLAG),
        ("op_offload", _FLAG),
        ("swa_full", _FLAG),
        ("kv_unified", _FLAG),
        ("samplers", _POINTER),
        ("n_samplers", _SIZE),
        ("ctx_other", _POINTER),
        _SPARE,
    ]


class _Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", _INT),
        ("token", _POINTER),
        ("embd", _POINTER),
        ("pos", _POINTER),
        ("n_seq_id", _POINTER),
        ("seq_id", _POINTER),
        ("logits", _POINTER),
    ]


_LOG_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, _POINTER)
_ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR
_FP32, _FP16 = 0, 1  # GGML_TYPE_F32, GGML_TYPE_F16
_OFF, _ON = 0, 1  # LLAMA_FLASH_ATTN_TYPE_DISABLED, LLAMA_FLASH_ATTN_TYPE_ENABLED
# From so many positions on one call is faster than a call for each: llama.cpp's kernel for several rows of Q8_0 needs 32 ms of one thread
# for two positions, 42 for four and 46 for eight, that for a single row 9 (docs/benchmarks.md).
TOGETHER_FROM = 6

_FUNCTIONS = {
    "llama_log_set": (None, (_LOG_CALLBACK, _POINTER)),
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (_ModelParams, ()),
    "llama_context_default_params": (_ContextParams, ()),
    "llama_model_load_from_file": (_POINTER, (ctypes.c_char_p, _ModelParams)),
    "llama_model_free": (None, (_POINTER,)),
    "llama_model_n_embd": (_INT, (_POINTER,)),
    "llama_model_get_vocab": (_POINTER, (_POINTER,)),
    "llama_vocab_n_tokens": (_INT, (_POINTER,)),
    "llama_init_from_model": (_POINTER, (_POINTER, _ContextParams)),
    "llama_free": (None, (_POINTER,)),
    "llama_n_ctx": (_UNSIGNED, (_POINTER,)),
    "llama_get_memory": (_POINTER, (_POINTER,)),
    "llama_memory_seq_rm": (_FLAG, (_POINTER, _INT, _INT, _INT)),
    "llama_memory_seq_cp": (None, (_POINTER, _INT, _INT, _INT, _INT)),
    "llama_set_n_threads": (None, (_POINTER, _INT, _INT)),
    "llama_decode": (_INT, (_POINTER, _Batch)),
    "llama_get_logits_ith": (_POINTER, (_POINTER, _INT)),
}

# What this build says by default. A field that moved would show another's value.
_KNOWN_MODEL = {"n_gpu_layers": -1, "split_mode": 1, "load_mode": -1, "lazy_mode": 1, "main_gpu": 0, "tensor_split": None}
_KNOWN_MODEL |= {"vocab_only": False, "check_tensors": False, "use_extra_bufts": True, "no_host": False, "no_alloc": False}
_KNOWN_CONTEXT = {"n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_outputs_max_per_seq": 1, "n_threads": 4}
_KNOWN_CONTEXT |= {"rope_scaling_type": -1, "flash_attn_type": -1, "yarn_ext_factor": -1.0, "yarn_beta_slow": -1.0, "defrag_thold": -1.0}
_KNOWN_CONTEXT |= {"type_k": 1, "type_v": 1, "abort_callback": None, "embeddings": False, "offload_kqv": True, "no_perf": True}
_KNOWN_CONTEXT |= {"op_offload": True, "swa_full": True, "kv_unified": False, "samplers": None, "n_samplers": 0}


class CellsFull(RuntimeError):
    """There is no room for these positions; nothing was computed."""


@lru_cache(maxsize=1)
def load_library() -> ctypes.CDLL:
    """llama.cpp in this process, its functions typed. Raises `WeightsError` where it is not to be had or not the build that is known.

    torch is loaded before it, whose libgomp it shares.
    """
    path = find_library()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise WeightsError(f"{path} can't be loaded: {error}.") from error
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise WeightsError(f"{path} has no function {name}: it is not {PACKAGE} {VERSION}.") from None
        function.restype, function.argtypes = result, arguments
    _check_layout(library, path)
    library.llama_log_set(_pass_on, None)
    library.llama_backend_init()
    return library


def _check_layout(library: ctypes.CDLL, path: Path) -> None:
    for params, known in (
        (library.llama_model_default_params(), _KNOWN_MODEL),
        (library.llama_context_default_params(), _KNOWN_CONTEXT),
    ):
        wrong = [name for name, value in known.items() if getattr(params, name) != value]
        if wrong:
            raise WeightsError(f"{path} lays out its parameters in another way ({', '.join(wrong)}): it is not {PACKAGE} {VERSION}.")


@_LOG_CALLBACK
def _pass_on(level: int, text: bytes, _user_data: int | None) -> None:
    log.log(logging.WARNING if level == _ERROR_LEVEL else logging.DEBUG, "%s", text.decode("utf-8", "replace").rstrip())


class LlamaContext:
    """A GGUF model and `cells` key-value positions that up to `sequences` sequences share; a batch holds at most `batch` positions.

    `width` is that of an embedding, `vocabulary` the number of logits.
    """

    def __init__(self, gguf: Path, *, cells: int, sequences: int, batch: int, threads: int, exact: bool = False):
        """With `exact` attention is computed in 32 bits instead of 16, more slowly, for comparing.

        Raises `WeightsError` when the file is no model that llama.cpp reads, or memory does not suffice.
        """
        self._library = library = load_library()
        self._context = self._model = None
        model_params = library.llama_model_default_params()
        self._model = library.llama_model_load_from_file(str(gguf).encode(), model_params)
        if not self._model:
            raise WeightsError(f"{gguf}: llama.cpp can't read this model. Remove its folder, and it is made again.")
        self.width = library.llama_model_n_embd(self._model)
        self.vocabulary = library.llama_vocab_n_tokens(library.llama_model_get_vocab(self._model))
        params = library.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.n_batch, params.n_ubatch = cells, sequences, batch, batch
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True  # sequences share the cells, and what begins alike is kept once
        # Flash attention skips the cells of other sequences; without it each token would be compared with every conversation's.
        params.flash_attn_type = _OFF if exact else _ON
        params.type_k = params.type_v = _FP32 if exact else _FP16
        self._context = library.llama_init_from_model(self._model, params)
        if not self._context:
            self.close()
            raise WeightsError(f"llama.cpp got no memory for {cells} positions of {gguf}. Close other programs, or use --engine torch.")
        self.cells = library.llama_n_ctx(self._context)
        self._memory = library.llama_get_memory(self._context)
        self._row = ctypes.c_float * self.vocabulary
        self._tokens, self._positions, self._sequences = (np.zeros(batch, np.int32) for _ in range(3))
        self._ones, self._wanted = np.ones(batch, np.int32), np.zeros(batch, np.int8)
        self._sequence_places = self._sequences.ctypes.data + 4 * np.arange(batch, dtype=np.uint64)

    def decode(
        self, inputs: Sequence[int] | np.ndarray, positions: Sequence[int], sequences: Sequence[int], wanted: Sequence[int]
    ) -> list[torch.Tensor]:
        """Compute one batch: token ids, or embeddings `(n, width)` in fp32. Next-token logits `(V,)` at its `wanted` places, in order.

        A few positions are computed one after the other, which is faster (`TOGETHER_FROM`). Raises `CellsFull`, after which everything is
        as before, and `RuntimeError` when llama.cpp fails, after which the sequences of this batch may hold anything.
        """
        count = len(inputs)
        if count >= TOGETHER_FROM:
            return self._decode(inputs, positions, sequences, wanted)
        rows: list[torch.Tensor] = []
        for place in range(count):
            one = slice(place, place + 1)
            try:
                rows += self._decode(inputs[one], positions[one], sequences[one], [0] if place in wanted else [])
            except CellsFull:
                for sequence, position in zip(sequences[:place], positions[:place], strict=True):
                    self.forget(sequence, position)
                raise
        return rows

    def _decode(
        self, inputs: Sequence[int] | np.ndarray, positions: Sequence[int], sequences: Sequence[int], wanted: Sequence[int]
    ) -> list[torch.Tensor]:
        count = len(inputs)
        embeddings = np.ascontiguousarray(inputs, np.float32) if isinstance(inputs, np.ndarray) else None
        if embeddings is None:
            self._tokens[:count] = inputs
        self._positions[:count], self._sequences[:count] = positions, sequences
        self._wanted[:count] = 0
        self._wanted[list(wanted)] = 1
        batch = _Batch(
            n_tokens=count,
            token=None if embeddings is not None else self._tokens.ctypes.data,
            embd=None if embeddings is None else embeddings.ctypes.data,
            pos=self._positions.ctypes.data,
            n_seq_id=self._ones.ctypes.data,
            seq_id=self._sequence_places.ctypes.data,
            logits=self._wanted.ctypes.data,
        )
        status = self._library.llama_decode(self._context, batch)
        if status == 1:
            raise CellsFull
        if status:
            raise RuntimeError(f"llama.cpp failed with status {status}.")
        return [self._logits(place) for place in wanted]

    def forget(self, sequence: int, start: int = 0) -> None:
        """Empty the cells of a sequence from position `start` on."""
        self._library.llama_memory_seq_rm(self._memory, sequence, start, -1)

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target`, which must be empty, begin with the first `length` positions of `source`. Cells are shared, nothing is copied."""
        self._library.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def set_threads(self, count: int) -> None:
        self._library.llama_set_n_threads(self._context, count, count)

    def close(self) -> None:
        """Free the memory; nothing else may be called after it."""
        context, model, self._context, self._model = self._context, self._model, None, None
        if context:
            self._library.llama_free(context)
        if model:
            self._library.llama_model_free(model)

    def _logits(self, place: int) -> torch.Tensor:
        address = self._library.llama_get_logits_ith(self._context, place)
        if not address:
            raise RuntimeError("llama.cpp made no logits.")
        return torch.from_numpy(np.frombuffer(self._row.from_address(address), np.float32).copy())
