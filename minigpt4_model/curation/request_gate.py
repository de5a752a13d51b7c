"""When the next request may go out: an even pace, one pause for all after "too many requests", and an end to all waiting."""

import threading
import time
from collections.abc import Callable


class GateClosed(Exception):
    """The run is being ended; whoever waited is not to send anything."""


class RequestGate:
    """Shared by all threads that send requests. `per_minute` None sets no pace of its own."""

    def __init__(self, per_minute: float | None = None, clock: Callable[[], float] = time.monotonic):
        self._interval = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._next = clock()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def pass_through(self) -> None:
        """Waits for this request's turn. Raises `GateClosed`."""
        while True:
            with self._lock:
                wait = self._next - self._clock()
                if wait <= 0:
                    self._next = self._clock() + self._interval
            if self._closed.is_set():
                raise GateClosed
            if wait <= 0:
                return
            self._closed.wait(wait)

    def pause(self, seconds: float) -> None:
        """Nobody passes for the next `seconds`."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)

    def sleep(self, seconds: float) -> None:
        """Waits, unless the gate is closed meanwhile: then it raises `GateClosed`."""
        if self._closed.wait(seconds):
            raise GateClosed

    def close(self) -> None:
        self._closed.set()
