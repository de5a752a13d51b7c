"""What can go wrong with weights. A `WeightsError`'s text is for the person at the keyboard: it names the file and the fix."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class WeightsError(RuntimeError):
    """Weights cannot be had, made or trusted."""


class PairingError(WeightsError):
    """A checkpoint was trained with other frozen parts than those it would run with."""


@contextmanager
def explained_disk_errors(directory: Path, needed_bytes: int, what: str) -> Iterator[None]:
    """Turns a full disk or a folder that refuses writing into a `WeightsError` naming `directory` and how to move elsewhere."""
    try:
        yield
    except OSError as error:
        elsewhere = "set MINIGPT4_HOME to a folder on another disk"
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise WeightsError(
                f"The disk that holds {directory} is full: {what} needs {needed_bytes / 1e6:.0f} MB there. Free some space, or {elsewhere}."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise WeightsError(
                f"{directory} cannot be written ({error.strerror}), and {what} goes there. Mend its rights, or {elsewhere}."
            ) from error
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            raise WeightsError(f"{directory} can't be a folder, because a file is in its way. Move that file, or {elsewhere}.") from error
        raise
