"""The cache directory: where made files live, how they are written whole or not at all, and how damage is noticed.

A cached directory carries `manifest.json` with the size, modification time and sha256 of every file, and the recipe it was made by.
At start sizes and times are compared (no reading); a changed time, or `full=True`, reads the file and compares its sha256.
`cached_directory` makes a directory again when it is missing, damaged or of another recipe; a lock lets only one process do so.
This module knows nothing about models, and never touches the network.
"""

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import WeightsError, explained_disk_errors
from .progress import Progress, silent

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_BLOCK = 4 << 20


def home() -> Path:
    """The cache directory: `MINIGPT4_HOME`, else `minigpt4` in the user's cache directory. It may not exist yet."""
    chosen = os.environ.get("MINIGPT4_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "minigpt4"


def sha256_of(path: Path, progress: Progress = silent) -> str:
    """Hex sha256 of a file's bytes."""
    digest, total, done = hashlib.sha256(), max(path.stat().st_size, 1), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            progress(f"Checking {path.name}", done / total)
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `path` whole or leaves it as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path, what: str, progress: Progress = silent) -> Iterator[None]:
    """Holds the lock file `path` against other processes and threads; one that has to wait says so once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        waiting = False
        while not _try_lock(file.fileno()):
            if not waiting:
                progress(f"Another process is preparing {what}; waiting for it.", None)
                waiting = True
            time.sleep(0.1)
        try:
            yield
        finally:
            _unlock(file.fileno())


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def write_manifest(directory: Path, recipe: str) -> None:
    """Records every file of `directory` and the recipe they were made by."""
    files = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            stat = path.stat()
            entry = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256_of(path)}
            files[path.relative_to(directory).as_posix()] = entry
    write_atomically(directory / MANIFEST, json.dumps({"recipe": recipe, "files": files}, indent=1).encode())
    readable = (directory / MANIFEST).stat().st_mode  # what the umask gives; safetensors makes its files private to one user
    for name in files:
        (directory / name).chmod(readable)


def made_by(directory: Path) -> str | None:
    """The recipe that a cached directory was made by; None where there is none that can be read."""
    try:
        return str(json.loads((directory / MANIFEST).read_bytes())["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_faults(directory: Path, recipe: str | None = None, full: bool = False, progress: Progress = silent) -> list[str]:
    """What is wrong with a cached directory, one sentence each; empty when it is whole. Writes nothing but refreshed times."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
        files = dict(manifest["files"])
        made_by = manifest["recipe"]
    except FileNotFoundError:
        return [f"{directory} is not there." if not directory.exists() else f"{directory} has no {MANIFEST}: it was never finished."]
    except (OSError, ValueError, KeyError, TypeError):
        return [f"{directory / MANIFEST} cannot be read."]
    if recipe is not None and made_by != recipe:
        return [f"{directory} was made of other files, or by another version of this program."]
    faults, touched = [], False
    for name, entry in files.items():
        path = directory / name
        try:
            stat = path.stat()
            if stat.st_size != entry["size"]:
                faults.append(f"{path} has {stat.st_size} bytes instead of {entry['size']}.")
            elif full or stat.st_mtime_ns != entry["mtime_ns"]:
                if sha256_of(path, progress) != entry["sha256"]:
                    faults.append(f"{path} is damaged: its sha256 is not the recorded one.")
                elif stat.st_mtime_ns != entry["mtime_ns"]:
                    entry["mtime_ns"], touched = stat.st_mtime_ns, True
        except FileNotFoundError:
            faults.append(f"{path} is missing.")
        except OSError as error:
            faults.append(f"{path} cannot be read ({error.strerror}).")
    if touched and not faults:
        try:
            write_atomically(directory / MANIFEST, json.dumps(manifest, indent=1).encode())
        except OSError:
            logger.info("%s is read-only: its files are read in full at every start", directory)
    return faults


def cached_directory(
    directory: Path, recipe: str, make: Callable[[Path], None], needed_bytes: int, what: str, progress: Progress = silent
) -> Path:
    """`directory`, whole and made by `recipe`; otherwise `make(empty_directory)` fills a new one that takes its place.

    A half-made directory is never seen under the final name. Raises `WeightsError` for a full or read-only disk; errors of `make`
    pass through.
    """
    if not find_faults(directory, recipe, progress=progress):
        return directory
    with explained_disk_errors(directory.parent, needed_bytes, what):
        directory.parent.mkdir(parents=True, exist_ok=True)
        with locked(directory.parent / f".{directory.name}.lock", what, progress):
            faults = find_faults(directory, recipe, progress=progress)
            if not faults:
                return directory
            if directory.exists():
                progress(f"{faults[0]} Making it again.", None)
            for leftover in directory.parent.glob(f".{directory.name}.*.partial"):
                shutil.rmtree(leftover, ignore_errors=True)
            _require_space(directory.parent, needed_bytes, what)
            temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".partial", dir=directory.parent))
            try:
                made = temporary / "new"
                made.mkdir()
                make(made)
                write_manifest(made, recipe)
                if directory.exists():
                    os.replace(directory, temporary / "old")
                os.replace(made, directory)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _require_space(directory: Path, needed_bytes: int, what: str) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise WeightsError(
            f"{what} needs {needed_bytes / 1e6:.0f} MB in {directory}, and {free / 1e6:.0f} MB are free. "
            "Free some space, or set MINIGPT4_HOME to a folder on another disk."
        )
