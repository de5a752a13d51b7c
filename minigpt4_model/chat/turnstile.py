"""A lock that serves in the order of arrival and whose queue can be left."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
