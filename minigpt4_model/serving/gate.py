"""How many requests are answered or wait to be at the same time; one more is told to come back later."""

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import ApiError

RETRY_AFTER_S = 2


class RequestGate:
    """Counts requests in progress. Used from one event loop, so no lock is needed."""

    def __init__(self, max_requests: int):
        self._max_requests = max_requests
        self.in_progress = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds one place for the block. Raises `ApiError` 429 when all are taken."""
        if self.in_progress >= self._max_requests:
            told = f"This server answers or queues {self._max_requests} requests at a time, and all places are taken: try again later."
            raise ApiError(429, told, code="rate_limit_exceeded", headers={"Retry-After": str(RETRY_AFTER_S)})
        self.in_progress += 1
        try:
            yield
        finally:
            self.in_progress -= 1
