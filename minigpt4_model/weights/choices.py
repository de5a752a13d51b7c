"""Every way to run a model on this machine: device and precision, what each needs, whether it fits, and which is best.

Reckons from sizes and free memory, before anything is loaded and without torch; `doctor` prints the table, and the loader does where
it refuses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .machine import Device
from .memory import PRECISIONS
from .placement import DISK, OTHER_GPU_BYTES, Need, place_layers

_WORTH_SPREADING = 4_000_000_000  # bytes: of a smaller model the choices with several devices are not listed


@dataclass(frozen=True)
class Choice:
    """One way to run a model here. Bytes are those of all `devices` together; `available_bytes` is None where it can't be told.

    `needed_bytes` is with as many full conversations as are kept, `least_bytes` with one. `flags` ask for this choice.
    """

    devices: tuple[str, ...]
    precision: str
    needed_bytes: int
    least_bytes: int
    available_bytes: int | None
    fits: bool | None
    runs: bool | None
    flags: tuple[str, ...]
    note: str = ""

    @property
    def where(self) -> str:
        return ", ".join(self.devices)


def list_choices(need: Need, devices: Sequence[Device]) -> list[Choice]:
    """Every way to run the model on `devices`, which are in the order of preference, the CPU last (`machine.find_devices`).

    Offloading, which is slow, is listed where 16 bit does not fit without.
    """
    gpus = [device for device in devices if device.name.startswith("cuda")]
    singles = [device for device in devices if not device.name.startswith("cuda")]
    if gpus:
        freest = max(gpus, key=lambda device: device.free_bytes or 0)
        singles = [gpus[0], *([freest] if freest is not gpus[0] else []), *singles]
    choices = [choice for device in singles for choice in _on_one(need, device, devices[0])]
    if need.size.weight_bytes("16 bit") <= _WORTH_SPREADING:
        return choices
    if len(gpus) > 1:
        together = ("--device-map", ",".join(device.name for device in gpus))
        choices += [_spread(need, precision, gpus, together) for precision in PRECISIONS[1:]]
    host = devices[-1]
    if gpus and host.name == "cpu" and not _has_room(choices, gpus[0].name):
        note = "slow: layers come from the CPU for each token"
        choices.append(_spread(need, "16 bit", [*gpus, host], ("--device-map", "auto"), note))
    if host.name == "cpu" and not _has_room(choices, "cpu"):
        note = "very slow: layers are read from the disk for each token"
        choices.append(_spread(need, "16 bit", [host, Device(DISK, "the model's own files", None)], ("--device-map", f"cpu,{DISK}"), note))
    return choices


def _on_one(need: Need, device: Device, best: Device) -> Iterator[Choice]:
    asked = [] if device.name in (best.name, "cuda:0") else ["--device", device.name]
    for precision in PRECISIONS:
        needed, least = (need.needed_bytes(precision, count) for count in (need.conversations, 1))
        free = device.free_bytes
        fits, runs = (None, None) if free is None else (needed <= free, least <= free)
        flags = (*asked, *_precision_flags(precision, device))
        yield Choice((device.name,), precision, needed, least, free, fits, runs, flags)


def _has_room(choices: Sequence[Choice], device: str) -> bool:
    """Whether 16 bit fits among the choices that compute on `device` first."""
    return any(choice.runs for choice in choices if choice.precision == "16 bit" and choice.devices[0] == device)


def _spread(need: Need, precision: str, devices: Sequence[Device], flags: tuple[str, ...], note: str = "") -> Choice:
    """The choice of all `devices` together."""
    known = [(device.name, device.free_bytes) for device in devices if device.name != DISK]
    needed, least = (need.needed_bytes(precision, count) + (len(known) - 1) * OTHER_GPU_BYTES for count in (need.conversations, 1))
    names = tuple(device.name for device in devices)
    flags = (*flags, *_precision_flags(precision, devices[0]))
    if any(free is None for _, free in known):
        return Choice(names, precision, needed, least, None, None, None, flags, note)
    rooms = [(name, free or 0) for name, free in known] + [(DISK, 0)] * (DISK in names)
    fits, runs = (place_layers(need, precision, rooms, count) is not None for count in (need.conversations, 1))
    return Choice(names, precision, needed, least, sum(free for _, free in rooms), fits, runs, flags, note)


def _precision_flags(precision: str, device: Device) -> tuple[str, ...]:
    """The flags that ask for a precision on a device; none where it is the device's own."""
    if precision in ("8 bit", "4 bit"):
        return (f"--load-in-{precision[0]}bit",)
    if precision == precision_of(device.dtype):
        return ()
    return ("--dtype", "float32" if precision == "float32" else "bfloat16")


def precision_of(dtype: str) -> str:
    """The row of the table that a dtype's name belongs to."""
    return "float32" if dtype == "float32" else "16 bit"


def recommend(choices: Sequence[Choice], devices: Sequence[Device]) -> Choice | None:
    """The best that fits with all conversations, else with one; None when nothing does or it can't be told.

    On GPUs quality first: 16 bit, on several GPUs if need be, then 8, then 4 bit, then offloading. On the CPU the precision it
    computes natively, then fewer bytes; 8 bit comes last there, being slower than 4.
    """
    for enough in ("fits", "runs"):
        possible = [choice for choice in choices if getattr(choice, enough)]
        if possible:
            return min(possible, key=lambda choice: _rank(choice, devices))
    return None


def _rank(choice: Choice, devices: Sequence[Device]) -> tuple[int, ...]:
    host = {"cpu", DISK}.intersection(choice.devices)
    if choice.devices[0] not in ("cpu", DISK) and not host:
        bits = ("16 bit", "8 bit", "4 bit", "float32").index(choice.precision)
        return (0 if bits < 3 else 3, bits, len(choice.devices))
    if len(choice.devices) > 1:
        return (1 if DISK not in host else 4,)
    own = next((precision_of(device.dtype) for device in devices if device.name == "cpu"), "float32")
    order = [own, *(precision for precision in ("16 bit", "4 bit", "8 bit", "float32") if precision != own)]
    return (2, order.index(choice.precision))


def render_choices(choices: Sequence[Choice]) -> str:
    """A table for people, one line a choice."""
    width = max(len(choice.where) for choice in choices)
    lines = []
    for choice in choices:
        free = "unknown" if choice.available_bytes is None else gigabytes(choice.available_bytes)
        free = f"{free} and the disk" if DISK in choice.devices else free
        verdict = {True: "fits", False: "does not fit", None: "unknown"}[choice.fits]
        if choice.runs and not choice.fits:
            verdict = "fits with one conversation at a time"
        asked = " ".join(choice.flags) or "the default here"
        asked = f"; {asked}" if choice.runs else ""
        note = f" ({choice.note})" if choice.note and choice.runs else ""
        line = f"{choice.where:<{width}}  {choice.precision:>7}  {gigabytes(choice.needed_bytes):>8} needed, {free} free"
        lines.append(f"{line}: {verdict}{asked}{note}")
    return "\n".join(lines)


def gigabytes(size: int | None) -> str:
    """A size for people: "unknown", "38 MB", "13.5 GB"."""
    if size is None:
        return "unknown"
    return f"{size / 1e9:.1f} GB" if size >= 100_000_000 or size == 0 else f"{size / 1e6:.0f} MB"
