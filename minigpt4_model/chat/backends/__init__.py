"""Backends: what the page, the API and the verbs talk to. `base` is the interface, the other modules implement it.

`open_backend` opens one by name; to add a backend, write its module and add a row to `BACKENDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...presets import DEFAULT_PRESET, get_preset
from .base import Backend, BackendError


@dataclass(frozen=True)
class BackendOptions:
    """What the flags say about a backend; each backend reads what concerns it. `model` is a directory and replaces `preset`."""

    preset: str | None = None
    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    load_in_8bit: bool = False
    load_in_4bit: bool = False
    base_url: str | None = None


def _open_torch(options: BackendOptions) -> Backend:
    from ...weights.errors import WeightsError
    from ..engine import load_engine

    try:
        return load_engine(
            options.model or get_preset(options.preset or DEFAULT_PRESET).name,
            device=options.device,
            dtype=options.dtype,
            load_in_8bit=options.load_in_8bit,
            load_in_4bit=options.load_in_4bit,
        )
    except (WeightsError, ValueError, OSError) as error:
        raise BackendError(str(error)) from error


def _open_echo(options: BackendOptions) -> Backend:
    from .echo import EchoBackend

    return EchoBackend()


def _open_openai(options: BackendOptions) -> Backend:
    raise BackendError("--backend openai comes with the serving part, which is not installed here: use --backend torch.")


BACKENDS: Mapping[str, Callable[[BackendOptions], Backend]] = MappingProxyType(
    {"torch": _open_torch, "openai": _open_openai, "echo": _open_echo}
)


def open_backend(
    name: str,
    *,
    preset: str | None = None,
    model: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    load_in_8bit: bool = False,
    load_in_4bit: bool = False,
    base_url: str | None = None,
) -> Backend:
    """The backend called `name`, ready to answer. Raises `BackendError` whose text names the flag or file and the fix."""
    if name not in BACKENDS:
        raise BackendError(f"--backend {name}: there is no such backend. Choose one of: {', '.join(BACKENDS)}.")
    return BACKENDS[name](BackendOptions(preset, model, device, dtype, load_in_8bit, load_in_4bit, base_url))
