"""Conversations' places in a llama.cpp context: slots that hold sequence numbers where torch's hold a cache.

A number comes back when nobody holds its slot any more, and its cells are emptied before it is used again.
`kv_cache.ConversationSlots` keeps and finds these slots as it does torch's.
"""

import threading
from collections import deque
from dataclasses import dataclass, field

from ..backends.base import BackendError
from .batching import ContinuousBatching, Work


class SequenceNumbers:
    """The numbers 0 to `count` - 1, each in the hands of at most one slot. `batching` is given once there is a context."""

    batching: ContinuousBatching

    def __init__(self, count: int):
        self._free = list(range(count))
        self._returned: deque[int] = deque()
        self._lock = threading.Lock()

    def take(self) -> int:
        """A number whose sequence is empty. Raises `BackendError` when all are taken."""
        self.empty_returned()
        with self._lock:
            if not self._free:
                raise BackendError("Too many answers are in progress at once: ask again in a moment.")
            return self._free.pop()

    def give_back(self, number: int) -> None:
        """Safe from a finalizer: it never waits."""
        self._returned.append(number)

    def empty_returned(self) -> None:
        """Empty the sequences that came back."""
        with self._lock:
            while self._returned:
                with self.batching.context() as context:
                    context.forget(self._returned[0])
                self._free.append(self._returned.popleft())


@dataclass(eq=False)
class SequenceSlot:
    """As `kv_cache.Slot`: `keys` name the positions that each of `sequences` holds; there are two for the visual contrast.
    `ahead` is what is being computed behind them before anybody asks for it, and its keys."""

    numbers: SequenceNumbers
    keys: list[int] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    sound: bool = True
    ahead: tuple[Work, list[int]] | None = None

    @property
    def size(self) -> int:
        return len(self.keys) * len(self.sequences)

    def widen(self, rows: int) -> None:
        """Hold at least `rows` sequences; only an empty slot gets more."""
        while len(self.sequences) < rows:
            self.sequences.append(self.numbers.take())

    def crop(self, length: int) -> None:
        """Forget everything behind the first `length` positions. Their cells go with the next work, which is told to crop."""
        del self.keys[length:]

    def fork(self, length: int) -> "SequenceSlot":
        """A slot of its own with the first `length` positions; this one stays as it is."""
        forked = SequenceSlot(self.numbers, self.keys[:length])
        forked.widen(len(self.sequences))
        with self.numbers.batching.context() as context:
            for source, target in zip(self.sequences, forked.sequences, strict=True):
                context.copy(source, target, length)
        return forked

    def __del__(self):
        for number in self.sequences:
            self.numbers.give_back(number)
