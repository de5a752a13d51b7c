"""Waiting in the order of arrival, in queues that can be left: for the model (`Turnstile`) and to be answered at all (`Seats`)."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancelled(Exception):
    """The reader of this answer is gone."""


class Turnstile:
    """Lets one caller in at a time, first come first served.

    It is held for one step of computing (a token, a chunk of a prompt, a picture), never across a `yield`: several answers
    advance side by side, and one whose reader pauses holds up nobody.
    """

    def __init__(self):
        self._queue: deque[object] = deque()
        self._moved = threading.Condition()

    @contextmanager
    def turn(self, cancelled: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Wait for the turn, then hold it for the block. Gives False, without the turn, if `cancelled()` came true while waiting."""
        ticket = object()
        with self._moved:
            self._queue.append(ticket)
        try:
            with self._moved:
                while self._queue[0] is not ticket and not cancelled():
                    self._moved.wait(0.05)
                admitted = self._queue[0] is ticket
            yield admitted
        finally:
            with self._moved:
                self._queue.remove(ticket)
                self._moved.notify_all()


class Seat:
    """A place, or several, among the answers in progress, or in the queue for them."""

    def __init__(self, places: int = 1):
        self.places = places
        self.left = False
        self._reading_since: float | None = None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """The reader has the word: nothing is computed until it comes back."""
        self._reading_since = time.monotonic()
        try:
            yield
        finally:
            self._reading_since = None

    def is_idle(self, patience_s: float) -> bool:
        since = self._reading_since
        return since is not None and time.monotonic() - since > patience_s


class Seats:
    """Lets answers on at most `count` places be in progress, first come first served: on each place a key-value cache grows.

    A seat is held across `yield`s. So that a reader who pauses holds up nobody, and one thread that reads more streams by turns
    than there are seats does not wait for itself, a seat whose reader has not come back for `patience_s` does not count.
    """

    def __init__(self, count: int, patience_s: float = 1.0):
        self._count = count
        self._patience_s = patience_s
        self._queue: list[Seat] = []  # those who sit, then those who wait
        self._lock = threading.Lock()

    @contextmanager
    def seat(self, cancelled: Callable[[], bool] = lambda: False, places: int = 1) -> Iterator[Seat]:
        """Wait for `places`, all of them if there are fewer, or until `cancelled()`, then hold them for the block."""
        mine = Seat(min(places, self._count))
        with self._lock:
            self._queue = [*(seat for seat in self._queue if not seat.left), mine]
        try:
            while self._ahead(mine) + mine.places > self._count and not cancelled():
                time.sleep(0.02)
            yield mine
        finally:
            mine.left = True  # and no lock: this may run in a finalizer, inside whatever its thread was doing

    def _ahead(self, mine: Seat) -> int:
        """Places of the seats before this one that count."""
        queue = self._queue  # never changed in place
        return sum(seat.places for seat in queue[: queue.index(mine)] if not (seat.left or seat.is_idle(self._patience_s)))
