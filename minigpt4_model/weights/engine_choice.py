"""Which engine computes the language half, and why: llama.cpp on a CPU where the LLM is to be had as a GGUF, torch everywhere else.

torch is the reference: it runs on every device, in every precision, and trains. llama.cpp decodes several times faster on a CPU
(docs/benchmarks.md). Looks only: loads neither.
"""

from dataclasses import dataclass

from .errors import WeightsError
from .llama_cpp_library import find_library

ENGINES = ("auto", "torch", "llama.cpp")
_WITH_GGUF = ("pocket",)  # presets whose LLM comes as a GGUF, by the name that a checkpoint gives its frozen parts


@dataclass(frozen=True)
class EngineChoice:
    """`name` is "torch" or "llama.cpp"; `why` is a sentence for people."""

    name: str
    why: str


def choose_engine(
    wanted: str | None,
    *,
    frozen_parts: str | None,
    device: str,
    dtype: str | None = None,
    bits: int = 0,
    device_map: str | None = None,
) -> EngineChoice:
    """The engine for a model with these `frozen_parts` (a checkpoint's entry, None for a whole model) on a device.

    `dtype`, `bits` and `device_map` are the flags --dtype, --load-in-Nbit and --device-map; None and 0 where they were not given.
    Raises `WeightsError` when `wanted` names llama.cpp and it can't be, and for a name that is none.
    """
    if wanted not in (None, *ENGINES):
        raise WeightsError(f"--engine {wanted}: choose one of {', '.join(ENGINES)}.")
    if wanted == "torch":
        return EngineChoice("torch", "--engine torch was given.")
    obstacle = f"It computes on the CPU, and --device-map {device_map} was given." if device_map else ""
    obstacle = obstacle or _obstacle(frozen_parts, device, dtype, bits)
    if not obstacle:
        return EngineChoice("llama.cpp", "The LLM is to be had as a GGUF, and on a CPU llama.cpp is the faster.")
    if wanted == "llama.cpp":
        raise WeightsError(f"--engine llama.cpp: {obstacle}")
    return EngineChoice("torch", obstacle)


def _obstacle(frozen_parts: str | None, device: str, dtype: str | None, bits: int) -> str:
    """Why llama.cpp can't be used, as a sentence; "" when it can."""
    if device.partition(":")[0] != "cpu":
        return f"It computes on the CPU, and the model runs on {device}."
    if dtype not in (None, "auto"):
        return f"It has the GGUF's own precision, and --dtype {dtype} was given."
    if bits:
        return f"It has the GGUF's own precision, and --load-in-{bits}bit was given."
    if frozen_parts not in _WITH_GGUF:
        return f"The LLM has to come as a GGUF, as that of {', '.join(_WITH_GGUF)} does."
    try:
        find_library()
    except WeightsError as error:
        return str(error)
    return ""
