"""Running a command and watching its memory: the peak as the system counts it, and of it what is the process's own.

A process's memory is its own (allocated) and that of files it has mapped, which the system can take back at any time. Own memory is
sampled, so a peak shorter than `_EVERY` may be missed; the peak of both together is the system's own record. Linux only; elsewhere
the record alone is there.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY = 0.05  # seconds


@dataclass(frozen=True)
class Run:
    """What a command did. Bytes; `own_peak` is None where it can't be told. On a busy machine `seconds` is mostly waiting."""

    code: int
    seconds: float
    cpu_seconds: float
    peak: int
    own_peak: int | None
    output: str


def run_watched(command: Sequence[str], log: Path) -> Run:
    """Runs `command` to its end, its standard error in `log`. Raises `OSError` when it cannot be started."""
    start, own = time.perf_counter(), None
    with log.open("ab") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
        os.set_blocking(process.stdout.fileno(), False)
        output = b""
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            output += process.stdout.read() or b""
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            allocated = memory_of(process.pid).get("RssAnon")
            own = max(own or 0, allocated) if allocated is not None else own
            time.sleep(_EVERY)
    unit = 1 if sys.platform == "darwin" else 1024
    computed = usage.ru_utime + usage.ru_stime
    return Run(process.returncode, time.perf_counter() - start, computed, usage.ru_maxrss * unit, own, output.decode("utf-8", "replace"))


def memory_of(pid: int | str = "self") -> dict[str, int]:
    """Bytes by the kernel's names (VmHWM: the peak, VmRSS, RssAnon: its own part); empty where the system has no /proc."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines if line.startswith(("VmHWM", "VmRSS", "Rss")))
    return {name.rstrip(":"): int(amount) * 1024 for name, amount, *_ in fields}


def forget_peak() -> None:
    """Begins a new peak (VmHWM) of this process; nothing where the system can't."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
