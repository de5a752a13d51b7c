"""Ending a run before its last step: Ctrl-C, a polite kill, or a time limit. The step in progress is finished first."""

import signal
import threading
import time
from types import FrameType

MAX_MINUTES, TERMINATED, INTERRUPTED = "--max-minutes", "SIGTERM", "Ctrl-C"
REASONS = (MAX_MINUTES, TERMINATED, INTERRUPTED)


class Interruption:
    """While it is entered, the first Ctrl-C or SIGTERM only leaves a note in `wishes`; a second Ctrl-C stops at once."""

    def __init__(self, max_minutes: float | None = None):
        self.deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._asked: set[str] = set()
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread listen
            for number, reason in ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)):
                self._before[number] = signal.signal(number, lambda *_, reason=reason: self._ask(reason, *_))
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, reason: str, number: int, frame: FrameType | None) -> None:
        if reason == INTERRUPTED and reason in self._asked:
            raise KeyboardInterrupt
        self._asked.add(reason)

    def wishes(self) -> list[float]:
        """1 for each of `REASONS` that asks this process to stop, else 0: numbers that processes can add up."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return [float(reason in self._asked or (reason == MAX_MINUTES and late)) for reason in REASONS]
