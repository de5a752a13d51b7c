"""Where llama.cpp is and whether this machine can run it: `find_library()`. Loads nothing, so that looking can't crash.

llama.cpp comes compiled inside the wheel `xllamacpp` (MIT): one shared object with no dependency beyond libc, libstdc++ and the libgomp
that torch brings, for glibc from 2.17 on. Its functions are called through `chat/llama_cpp/binding.py`, which knows the structures of
exactly this build; any other is refused.
"""

import importlib.metadata
import importlib.util
import platform
import sys
from pathlib import Path

from .advice import python_command
from .errors import WeightsError
from .machine import cpu_flags

PACKAGE = "xllamacpp"
VERSION = "2026.10.11549"  # llama.cpp b11549
# What the wheel was compiled for. A processor without them would end the process at the first instruction it does not know.
_NEEDED_FEATURES = ("avx2", "fma", "f16c", "bmi2")


def find_library() -> Path:
    """The shared object with llama.cpp's functions. Raises `WeightsError` that says why it can't be used here, and the fix if any."""
    system, machine = sys.platform, platform.machine()
    if system != "linux" or machine not in ("x86_64", "AMD64"):
        raise WeightsError(f"llama.cpp is used on Linux with x86-64 only, and this is {system} with {machine}.")
    flags = cpu_flags()
    if missing := [feature for feature in _NEEDED_FEATURES if feature not in flags]:
        raise WeightsError(f"llama.cpp was compiled for processors with {', '.join(missing)}, which this one does not have.")
    fix = python_command("-m", "pip", "install", f"{PACKAGE}=={VERSION}")
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise WeightsError(f"The package {PACKAGE} is not installed. Install it: {fix}") from None
    if version != VERSION:
        raise WeightsError(f"{PACKAGE} {version} is installed, and only {VERSION} is known here. Install that: {fix}")
    spec = importlib.util.find_spec(PACKAGE)
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in sorted(Path(folder).glob(f"{PACKAGE}*.so")):
            return path
    raise WeightsError(f"The package {PACKAGE} has no shared object in it. Install it again: {fix} --force-reinstall")
