"""What this machine is and has: versions, processor, devices, free memory. Reads only; imports torch when asked for devices."""

import importlib.metadata
import os
import platform
import re
import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path

PACKAGES = (
    "torch", "torchvision", "transformers", "timm", "tokenizers", "safetensors", "gguf", "pillow", "gradio", "accelerate", "bitsandbytes",
)  # fmt: skip
_TELLING_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "i8mm")
_ONLY_FOR_FEWER_BITS = ("bitsandbytes",)
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Device:
    """Something torch can compute on. `free_bytes` is None where it can't be told; `dtype` is the precision that suits it best."""

    name: str
    title: str
    free_bytes: int | None
    dtype: str = "float32"


def installed_versions() -> dict[str, str | None]:
    """Versions of the packages that matter, None where one is not installed, plus Python's own."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def version_faults(requirements: Path) -> tuple[list[str], list[str]]:
    """Lines of a requirements file that this environment does not meet: (what stops a preset, what only narrows the choice).

    Both are empty where all is well or there is no such file. A Python without `packaging`, which comes with the packages asked
    for, can't compare versions: then a name counts as met, and a line for some systems only as not meant.
    """
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        Requirement = _NameOnly
    missing, unusual = [], []
    for line in requirements.read_text(encoding="utf-8").splitlines() if requirements.exists() else []:
        line = line.partition("#")[0].strip()
        if not line or line.startswith("-"):
            continue
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            if wanted.name in _ONLY_FOR_FEWER_BITS:
                unusual.append(f"{wanted.name} is not installed, so --load-in-8bit and --load-in-4bit can't be used")
            else:
                missing.append(f"{wanted.name} is not installed ({line} is asked for)")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            unusual.append(f"{wanted.name} is {version}, and {line} is asked for")
    return missing, unusual


class _NameOnly:
    """The part of `packaging.requirements.Requirement` that `version_faults` reads, of a line's name alone."""

    def __init__(self, line: str):
        self.name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        self.marker = self if ";" in line else None
        self.specifier = self

    def evaluate(self) -> bool:
        return False

    def contains(self, version: str, prereleases: bool) -> bool:
        return True


def cpu_flags() -> list[str]:
    """Everything that the processor says it can; empty where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    listed = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return listed[1].split() if listed else []


def cpu_features() -> list[str]:
    """Instruction sets that decide how fast 16-bit and 8-bit arithmetic is; empty where the system does not tell."""
    flags = cpu_flags()
    return [feature for feature in _TELLING_FEATURES if feature in flags]


def cpu_title() -> str:
    """The processor's name as the system tells it, and how many of it this process may use."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return f"{named[1] if named else platform.processor() or platform.machine()}, {cpu_count()} processors"


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int | None:
    """Bytes that a program can still take here: the system's figure, or a container's limit where that is lower."""
    try:
        import psutil
    except ImportError:
        return None
    return min(psutil.virtual_memory().available, _container_headroom())


def own_memory() -> int:
    """Bytes that this process has taken; 0 where it can't be told."""
    try:
        import psutil
    except ImportError:
        return 0
    return psutil.Process().memory_info().rss


# Control groups of version 2 and 1: where they are mounted, how /proc/self/cgroup calls them, the limit, what is taken of it, and how
# memory.stat calls what files take.
_CONTROL_GROUPS = (
    (Path("/sys/fs/cgroup"), "", "memory.max", "memory.current", ("inactive_file", "active_file")),
    (
        Path("/sys/fs/cgroup/memory"),
        "memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
)
_OWN_GROUPS = Path("/proc/self/cgroup")


def _container_headroom() -> int:
    """What this process's control group and those around it may still take: a container's limit, or that of a service or a session.

    What the system keeps of files that were read counts as taken there, and is given back.
    """
    room = _NO_LIMIT
    for mounted, controller, *names in _CONTROL_GROUPS:
        own = mounted / _own_group(controller)
        for folder in (own, *own.parents):  # a container sees its own group as the root, or is shown a path that it can't look into
            if folder.is_relative_to(mounted):
                room = min(room, _headroom_of(folder, *names))
    return room


def _own_group(controller: str) -> str:
    """The path of this process's group below its mount; the root's where it can't be told. Version 2 names no controller."""
    try:
        rows = [line.split(":", 2) for line in _OWN_GROUPS.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return ""
    path = next((row[2] for row in rows if len(row) == 3 and controller in row[1].split(",")), "/")
    return "" if ".." in path.split("/") else path.strip("/")  # outside of what this process is shown


def _headroom_of(folder: Path, limit: str, used: str, kept: tuple[str, str]) -> int:
    try:
        room = int((folder / limit).read_text()) - int((folder / used).read_text())
        rows = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(room + sum(int(amount) for name, amount in rows if name in kept), 0)
    except (OSError, ValueError):  # no such file, or "max"
        return _NO_LIMIT


def find_devices(only: str | None = None) -> list[Device]:
    """Devices in the order of preference, the CPU last, or the one that torch calls `only`. Raises whatever importing torch raises."""
    import torch

    from .devices import choose_dtype, name_of

    found = []
    for index in range(torch.cuda.device_count()):
        if only in (None, f"cuda:{index}") or (only == "cuda" and index == torch.cuda.current_device()):
            found.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), torch.cuda.mem_get_info(index)[0]))
    if torch.backends.mps.is_available() and only in (None, "mps", "mps:0"):
        found.append(Device("mps", "Apple GPU", _free_for_mps()))
    if only in (None, "cpu") or not found:
        title = f"{platform.processor() or platform.machine()}, {cpu_count()} processors, {torch.get_num_threads()} threads"
        found.append(Device("cpu", title, free_memory()))
    return [replace(device, dtype=name_of(choose_dtype(None, torch.device(device.name)))) for device in found]


def _free_for_mps() -> int | None:
    """Of the memory that an Apple GPU shares with the processor, what Metal may still take."""
    import torch

    free = free_memory()
    allowed = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return max(0, allowed if free is None else min(free, allowed))


def pip_may_install() -> bool:
    """Whether pip may change this environment: Debian and others refuse for the system's own Python."""
    in_environment = sys.prefix != sys.base_prefix
    return in_environment or not (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").exists()


def python_is_supported() -> bool:
    return sys.version_info >= (3, 11)
