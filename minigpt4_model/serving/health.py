"""`/healthz`: whether this server can do its work, for whoever restarts servers and sends visitors to them. Says nothing else.

The server answers only once its model is loaded; then a check is a function that gives a sentence about a fault, or "".
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import fastapi
from fastapi.responses import JSONResponse

Check = Callable[[], str]

# A few hundred pictures.
NEEDED_BYTES = 200_000_000


def add_health_route(server: fastapi.FastAPI, checks: Sequence[Check] = ()) -> None:
    """`/healthz`: 200 and `{"status": "ok"}`, or 503 and `{"status": "failing", "faults": [...]}`."""

    @server.get("/healthz")
    def healthz() -> JSONResponse:
        faults = [fault for check in checks if (fault := check())]
        return JSONResponse({"status": "failing", "faults": faults}, 503) if faults else JSONResponse({"status": "ok"})


def room_for_uploads(folder: Path, needed_bytes: int = NEEDED_BYTES) -> Check:
    """A check that files can be written in `folder` and that there is room for them."""
    return partial(_check_room, folder, needed_bytes)


def _check_room(folder: Path, needed_bytes: int) -> str:
    try:
        free = shutil.disk_usage(folder).free
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as fault:
        return f"Uploads cannot be kept ({fault.strerror})."
    return "" if free >= needed_bytes else f"There is room for {free / 1e6:.0f} MB of uploads only."
