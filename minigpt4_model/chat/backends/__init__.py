"""Backends: what the page, the API and the verbs talk to. `base` is the interface, the other modules implement it.

`open_backend` opens one by name; to add a backend, write its module and add a row to `BACKENDS`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...presets import DEFAULT_PRESET, get_preset
from .base import Backend, BackendError
from .flags import LOADING


@dataclass(frozen=True)
class BackendOptions:
    """What the flags say about a backend; each backend reads what concerns it. `model` is a directory and replaces `preset`.

    `served_model` is the name of a model that the server at `base_url` has; the key for it is OPENAI_API_KEY.

    `local_dir` is a directory with files of a full-size preset.
    """

    preset: str | None = None
    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    load_in_8bit: bool = False
    load_in_4bit: bool = False
    device_map: str | None = None
    max_memory: str | None = None
    memory_check: bool = True
    base_url: str | None = None
    served_model: str | None = None
    local_dir: str | None = None
    image_size: int | None = None
    engine: str | None = None


def _open_torch(options: BackendOptions) -> Backend:
    from ...weights.errors import WeightsError
    from .zero_gpu import ZeroGpuBackend, on_zero_gpu, prepare

    try:
        if on_zero_gpu():
            prepare()
        from ..load import load_engine

        engine = load_engine(
            Path(options.model) if options.model else get_preset(options.preset or DEFAULT_PRESET).name,
            **{name: getattr(options, name) for name in LOADING},
        )
        return ZeroGpuBackend(engine) if on_zero_gpu() else engine
    except (WeightsError, ValueError, OSError) as error:
        raise BackendError(str(error)) from error
    except (ImportError, RuntimeError, MemoryError) as error:  # what drivers, allocators and bitsandbytes have to say
        raise BackendError(_explain(error, options)) from error


# How torch's allocators for CUDA, MPS and the CPU begin or go on.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def _explain(error: Exception, options: BackendOptions) -> str:
    """Why the model could not be loaded, with the flag that may help."""
    from ...weights.advice import python_command

    device = f" --device {options.device}" if options.device else ""
    told = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
        fewer = "--device cpu" if options.load_in_4bit else "--load-in-4bit" if options.load_in_8bit else "--load-in-8bit or --load-in-4bit"
        return f"The model does not fit into the memory{' of' + device if device else ''}: try {fewer}, or close other programs. ({told})"
    given = [device, " --load-in-8bit" if options.load_in_8bit else "", " --load-in-4bit" if options.load_in_4bit else ""]
    what = f"The model could not be loaded{' with' if any(given) else ''}{''.join(given)}: {told}"
    doctor = python_command("-m", "minigpt4_model", "doctor")
    return f"{what}\nTry --device cpu without --load-in-8bit and --load-in-4bit. What this machine has: {doctor}"


def _open_echo(options: BackendOptions) -> Backend:
    from .echo import EchoBackend

    return EchoBackend()


def _open_openai(options: BackendOptions) -> Backend:
    from .openai import OpenAIBackend

    if not options.base_url:
        raise BackendError("--backend openai needs --base-url URL, the address of an OpenAI-compatible server.")
    return OpenAIBackend(
        options.base_url,
        preset=get_preset(options.preset or DEFAULT_PRESET),
        served_model=options.served_model,
        api_key=os.environ.get("OPENAI_API_KEY", ""),
    )


BACKENDS: Mapping[str, Callable[[BackendOptions], Backend]] = MappingProxyType(
    {"torch": _open_torch, "openai": _open_openai, "echo": _open_echo}
)


def open_backend(name: str, **options: Any) -> Backend:
    """The backend called `name`, ready to answer; `options` are the fields of `BackendOptions`.

    Raises `BackendError` whose text names the flag or file and the fix.
    """
    if name not in BACKENDS:
        raise BackendError(f"--backend {name}: there is no such backend. Choose one of: {', '.join(BACKENDS)}.")
    return BACKENDS[name](BackendOptions(**options))
