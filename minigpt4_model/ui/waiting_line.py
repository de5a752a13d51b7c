"""The line in front of the model: who comes first is answered first, and everybody sees how many are before them.

Knows nothing of pages or backends. A backend may have a queue of its own, for those who come by other ways than the page.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

# Answers of which the mean says how long one takes.
REMEMBERED = 20


class Place:
    """One's place in the line, or among those being answered."""

    def __init__(self, line: "WaitingLine"):
        self._line = line
        self.began: float | None = None

    @property
    def ahead(self) -> int:
        """How many must finish before it is this one's turn; from 0 on it is, for good."""
        return self._line._ahead(self)

    @property
    def expected_seconds(self) -> float | None:
        """About how long the waiting lasts, from how long recent answers took; None if there was none."""
        return self._line._expected_seconds(self)


class WaitingLine:
    """Lets `at_once` answers be written at a time. Safe to use from several threads."""

    def __init__(self, at_once: int):
        self._at_once = at_once
        self._places: list[Place] = []
        self._durations: deque[float] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()

    @contextmanager
    def join(self) -> Iterator[Place]:
        """A place at the end of the line, left with the block. It is the caller who waits until nobody is `ahead`."""
        place = Place(self)
        with self._lock:
            self._places.append(place)
        try:
            yield place
        finally:
            with self._lock:
                self._places.remove(place)
                if place.began is not None:
                    self._durations.append(time.monotonic() - place.began)

    def _ahead(self, place: Place) -> int:
        with self._lock:
            ahead = max(0, self._places.index(place) - self._at_once + 1)
            if ahead == 0 and place.began is None:
                place.began = time.monotonic()
            return ahead

    def _expected_seconds(self, place: Place) -> float | None:
        ahead = self._ahead(place)
        with self._lock:
            if not self._durations:
                return None
            return sum(self._durations) / len(self._durations) * ahead / self._at_once
