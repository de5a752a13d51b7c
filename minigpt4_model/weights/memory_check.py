"""Where a model that is about to be loaded goes: what the flags ask for, held against the memory that is free.

What does not fit is refused here, with the table of what would (`choices.py`), before anything is loaded.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..presets import PRESETS
from .choices import gigabytes, list_choices, recommend, render_choices
from .errors import WeightsError
from .machine import Device, find_devices, own_memory
from .memory import PROGRAM_BYTES, size_of
from .placement import DISK, Need, device_map_of, place_layers

logger = logging.getLogger(__name__)

_UNKNOWN = 1 << 60  # bytes
OWN_CONVERSATIONS = 2  # kept at a time of a model that is no preset (`chat.load.load_engine`)


class TooLittleMemory(WeightsError):
    """The model does not fit where it was to go; the message has the table of what would, and `reason` only what is lacking."""

    def __init__(self, what: str, reason: str, advice: str):
        super().__init__(f"{what} {reason}.\n{advice}")
        self.reason = reason


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def read_max_memory(text: str | None) -> dict[str, int]:
    """`cuda:0=10GB,cpu=20GiB` -> bytes by device. Raises `WeightsError` with an example."""
    limits = {}
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        name, _, amount = part.partition("=")
        number = amount.rstrip("BGIKMTbgikmt")
        unit = amount[len(number) :].upper()
        try:
            limits[name] = int(float(number) * _UNITS[unit])
            if limits[name] < 0:
                raise ValueError
        except (ValueError, KeyError, OverflowError):  # an overflow is infinity's
            raise WeightsError(f"--max-memory {text}: {part!r} is no amount of a device. Write it as in cuda:0=10GB,cpu=20GB.") from None
    return limits


def read_device_map(text: str, devices: Sequence[Device]) -> list[Device]:
    """The devices that `--device-map` names, in order; "auto" is all GPUs and then the CPU. Raises `WeightsError`."""
    there = {device.name: device for device in devices}
    if text == "auto":
        names = [name for name in there if name.startswith("cuda")] or [devices[0].name]
        names += ["cpu"] if names[0].startswith("cuda") and "cpu" in there else []
    else:
        names = [{"cuda": "cuda:0"}.get(name, name) for name in text.replace(" ", "").split(",")]
    unknown = [name for name in names if name not in there and name != DISK]
    if unknown or names[0] == DISK or len(set(names)) < len(names):
        fault = f"{', '.join(unknown)} is not on this machine" if unknown else "each device once, and one that computes first"
        raise WeightsError(f"--device-map {text}: {fault}. Write auto, or a list of: {', '.join([*there, DISK])}.")
    return [there.get(name) or Device(DISK, "the model's own files", None) for name in names]


def find_place(
    what: str,
    config: Mapping[str, Any],
    main: str,
    precision: str,
    device_map: str | None = None,
    max_memory: str | None = None,
    memory_check: bool = True,
    beside: str = "16 bit",
) -> dict[str, str]:
    """transformers' `device_map` for the model that `config` describes: all on `main`, or spread as `device_map` says.

    `beside` is the precision of the rest where `precision`, the LLM's, is 8 or 4 bit. `what` is the flag that names the model, for
    messages. Raises `TooLittleMemory` when it does not fit with one conversation, unless `memory_check` is off; `WeightsError` when flags
    contradict each other.
    """
    limits = read_max_memory(max_memory)
    need = replace(need_of(config), beside=beside)
    has_qformer = bool(config.get("qformer_config"))
    # Asking a GPU for its memory takes some of it: only those that are meant are asked.
    devices = [_limited(device, limits) for device in find_devices(None if device_map else main)]
    _check_limits(max_memory, limits, devices)
    attempts = _attempts(device_map, devices, precision) if device_map else [devices[:1]]
    if any(device.name == DISK for device in attempts[-1]) and config.get("frozen_parts"):
        raise WeightsError(f"{what} takes its frozen parts from elsewhere: disk in --device-map needs all weights in one directory.")
    for attempt in attempts:
        for conversations in (need.conversations, 1):
            placed = _place(need, precision, attempt, conversations)
            if placed is not None:
                return _told(device_map_of(attempt[0].name, placed, has_qformer))
    if not memory_check:
        unlimited = [*attempt[:-1], replace(attempt[-1], free_bytes=None)]
        placed = _place(need, precision, unlimited, 0) or [attempt[0].name] * need.size.language_model.layers
        return _told(device_map_of(attempt[0].name, placed, has_qformer))
    everywhere = devices if device_map else [_limited(device, limits) for device in find_devices()]
    raise refusal(what, need, everywhere, attempt, precision)


def _check_limits(text: str | None, limits: Mapping[str, int], devices: Sequence[Device]) -> None:
    unknown = [name for name in limits if name not in {device.name for device in devices}]
    if unknown:
        raise WeightsError(f"--max-memory {text}: the model is not to use {', '.join(unknown)}. Name devices of --device-map.")


def _attempts(device_map: str, devices: Sequence[Device], precision: str) -> list[list[Device]]:
    """The devices to try, in turn. "auto" adds one after the other until the model fits."""
    wanted = read_device_map(device_map, devices)
    attempts = [wanted[:count] for count in range(1, len(wanted) + 1)] if device_map == "auto" else [wanted]
    if precision not in ("8 bit", "4 bit"):
        return attempts
    computing = [attempt for attempt in attempts if len(attempt) == 1 or not {"cpu", DISK}.intersection(each.name for each in attempt)]
    if not computing:
        raise WeightsError(
            f"--load-in-{precision[0]}bit with --device-map {device_map}: layers on the cpu or the disk can't be quantised. "
            "Leave one of the flags out."
        )
    return computing


def _place(need: Need, precision: str, devices: Sequence[Device], conversations: int) -> list[str] | None:
    """`place_layers` on `devices`; free memory that can't be told is taken to be enough."""
    rooms = [(device.name, _UNKNOWN if device.free_bytes is None else device.free_bytes) for device in devices]
    if len(rooms) > 1:
        return place_layers(need, precision, rooms, conversations)
    (name, room), *_ = rooms
    return [name] * need.size.language_model.layers if need.needed_bytes(precision, conversations) <= room else None


def need_of(config: Mapping[str, Any], preset: str | None = None) -> Need:
    """What the model of a `config.json` needs to be placed: lengths and numbers of conversations are the engine's."""
    row = PRESETS.get(preset or config.get("frozen_parts") or "")
    longest = (config.get("text_config") or {}).get("max_position_embeddings", 2048)
    if row is None:
        return Need(size_of(config), longest, OWN_CONVERSATIONS)
    return Need(size_of(config), min(longest, row.context_length), row.kv_slots)


def conversations_that_fit(config: Mapping[str, Any], device: str, bytes_per_value: int, context_length: int, wanted: int) -> int:
    """How many full conversations of a loaded model fit beside it: `wanted` or fewer, one at least."""
    free = find_devices(device)[0].free_bytes
    one = size_of(config).language_model.cache_bytes(context_length, bytes_per_value)
    return wanted if free is None else max(1, min(wanted, free // one))


def _limited(device: Device, limits: Mapping[str, int]) -> Device:
    """`device` with what this process has taken already counted as free, since it is the program's share, and within `limits`."""
    if device.name == "cpu" and device.free_bytes is not None:
        device = replace(device, free_bytes=device.free_bytes + min(own_memory(), PROGRAM_BYTES))
    if device.name in limits and (device.free_bytes is None or device.free_bytes > limits[device.name]):
        device = replace(device, free_bytes=limits[device.name])
    return device


def _told(placed: dict[str, str]) -> dict[str, str]:
    """Says where the layers go when they are not all on one device."""
    counts = Counter(device for part, device in placed.items() if part.rpartition(".")[2].isdigit())
    if counts:
        slow = ": each token moves the offloaded ones, which is slow" if {"cpu", DISK}.intersection(counts) else ""
        told = ", ".join(f"{count} on {device}" for device, count in counts.items())
        logger.warning("The language model's layers: %s%s.", told, slow)
    return placed


def refusal(what: str, need: Need, devices: Sequence[Device], asked: Sequence[Device], precision: str) -> TooLittleMemory:
    """The error of a model that does not fit on the devices `asked` for: what it needs, and the table of what would do."""
    names, free = ", ".join(device.name for device in asked), sum(device.free_bytes or 0 for device in asked)
    choices = list_choices(replace(need, beside="16 bit"), devices)  # what the flags that it names lead to
    best = recommend(choices, devices)
    flags = " ".join(best.flags) if best else ""
    advice = "Use a machine with more memory" if best is None else f"Use {flags}" if flags else "Leave these flags out"
    with_rest = " with the rest in float32" if need.beside == "float32" and precision in ("8 bit", "4 bit") else ""
    least = gigabytes(need.needed_bytes(precision, 1))
    return TooLittleMemory(
        what,
        f"in {precision}{with_rest} needs {least} of memory on {names}, and {gigabytes(free)} are free",
        f"Memory for {need.conversations} conversations of {need.context_length} tokens at a time, above for one:\n"
        f"{render_choices(choices)}\n{advice}, or close other programs. "
        "--no-memory-check loads it all the same, and the system may end the program.",
    )
