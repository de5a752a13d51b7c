"""Conversations' key-value caches, kept so that a turn computes only what is new.

A `Slot` is a cache and the keys of the positions in it (`render.Rendered.keys`). `ConversationSlots.take` finds the slot
that shares the longest beginning with a prompt and hands it over, cropped; `give_back` returns it. Between the two the slot
belongs to one answer alone, so a slot that is left in the middle of a computation can never be seen by another.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from transformers import DynamicCache


@dataclass
class Slot:
    """`keys[i]` names what position `i` of `cache` was computed from. `sound` is False while a forward pass may have
    written some layers and not others."""

    keys: list[int] = field(default_factory=list)
    cache: DynamicCache = field(default_factory=DynamicCache)
    sound: bool = True

    @property
    def size(self) -> int:
        """Positions in memory: those of all rows, of which the visual contrast has two."""
        return len(self.keys) * (self.cache.layers[0].keys.shape[0] if self.keys else 1)

    def crop(self, length: int) -> None:
        """Forget everything behind the first `length` positions."""
        if length < len(self.keys):
            self.cache.crop(length - len(self.keys))
            del self.keys[length:]

    def fork(self, length: int) -> "Slot":
        """A slot of its own with the first `length` positions; this one stays as it is."""
        cache = DynamicCache()
        for index, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[..., :length, :], layer.values[..., :length, :], index)
        return Slot(self.keys[:length], cache)


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many positions at the beginning are equal."""
    for index, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return index
    return min(len(first), len(second))


class ConversationSlots:
    """At most `max_slots` slots, those handed over included, and `max_tokens` positions in those kept; the least recently used go first.

    Safe to use from several threads; `give_back` also from a finalizer, so it never waits.
    """

    def __init__(self, max_slots: int, max_tokens: int, new_slot: Callable[[], Any] = Slot):
        """`new_slot` makes an empty slot: something with what `Slot` has but the cache."""
        self._max_slots = max_slots
        self._max_tokens = max_tokens
        self._new_slot = new_slot
        self._slots: OrderedDict[int, Slot] = OrderedDict()  # oldest first
        self._numbers = count()
        self._handed_over: set[int] = set()  # ids of slots
        self._returned: deque[Slot] = deque()
        self._lock = threading.Lock()

    def take(self, keys: Sequence[int]) -> Slot:
        """A slot whose keys are the longest known beginning of `keys`, at least one position short of all of them.

        A slot that would lose more than half by cropping belongs to another conversation (or to an answer that may be
        asked for again): then it stays and a copy of the common beginning is handed over.
        """
        with self._lock:
            self._sort_in()
            slot = self._find(keys)
            self._handed_over.add(id(slot))
            self._sort_in()
        return slot

    def holds(self, keys: Sequence[int]) -> bool:
        """Whether a slot that is not handed over begins with `keys`."""
        with self._lock:
            self._sort_in()
            return any(slot.keys[: len(keys)] == list(keys) for slot in self._slots.values())

    def give_back(self, slot: Slot) -> None:
        self._returned.append(slot)
        if self._lock.acquire(blocking=False):  # else whoever holds it, or the next to take a slot, sorts it in
            try:
                self._sort_in()
            finally:
                self._lock.release()

    def clear(self) -> None:
        with self._lock:
            self._sort_in()
            self._slots.clear()

    def drop_oldest(self) -> bool:
        """Forget the slot that nobody has used for longest; False when none is kept."""
        with self._lock:
            self._sort_in()
            if self._slots:
                self._slots.popitem(last=False)
                return True
        return False

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def tokens(self) -> int:
        """Positions held by all slots together."""
        return sum(slot.size for slot in self._slots.values())

    def _find(self, keys: Sequence[int]) -> Slot:
        best, shared = None, 0
        for number, slot in self._slots.items():
            length = min(common_prefix(slot.keys, keys), len(keys) - 1)
            if length >= max(shared, 1):
                best, shared = number, length
        if best is None:
            return self._new_slot()
        slot = self._slots[best]
        if shared < len(slot.keys) / 2:
            return slot.fork(shared)
        del self._slots[best]
        slot.crop(shared)
        return slot

    def _sort_in(self) -> None:
        while self._returned:
            slot = self._returned.popleft()
            self._handed_over.discard(id(slot))
            if slot.sound and slot.keys:
                # A beginning of what came back is of no further use.
                for number in [n for n, old in self._slots.items() if slot.keys[: len(old.keys)] == old.keys]:
                    del self._slots[number]
                self._slots[next(self._numbers)] = slot
        room = max(0, self._max_slots - len(self._handed_over))
        while len(self._slots) > room or self.tokens > self._max_tokens:
            self._slots.popitem(last=False)
