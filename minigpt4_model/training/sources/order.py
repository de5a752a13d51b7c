"""In which order a source's elements come: a fresh permutation for every epoch, as a pure function of the position.

The blocks (shards) are permuted, and their elements are shuffled within windows of a few blocks, so that reading stays in a
few files at a time and memory in one window of numbers, however large the source is.
"""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

WINDOW_BLOCKS = 16
_KEPT = 4  # windows that are kept: sample numbers come in order, with a few workers ahead of the others


class ShuffledOrder:
    """`order(epoch, position)` is an element; over the positions of an epoch each element comes once."""

    def __init__(self, blocks: Sequence[int], seed: Sequence[int], window_blocks: int = WINDOW_BLOCKS):
        if window_blocks < 1:
            raise ValueError(f"--shuffle-shards must be at least 1, not {window_blocks}.")
        self.lengths = np.asarray(blocks, dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self.seed, self.window_blocks = list(seed), window_blocks
        self._epochs: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._windows: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __call__(self, epoch: int, position: int) -> int:
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)}")
        number, start, _ = self._window(epoch, position)
        return int(self._shuffled(epoch, number)[position - start])

    def window(self, epoch: int, position: int) -> range:
        """The positions that are shuffled together with this one."""
        _, start, stop = self._window(epoch, position)
        return range(start, stop)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_epochs": OrderedDict(), "_windows": OrderedDict()}

    def _window(self, epoch: int, position: int) -> tuple[int, int, int]:
        bounds = self._epoch(epoch)[1]
        number = int(np.searchsorted(bounds, position, side="right")) - 1
        return number, int(bounds[number]), int(bounds[number + 1])

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The blocks in the order of this epoch, and at which position each window begins."""

        def make() -> tuple[np.ndarray, np.ndarray]:
            blocks = np.random.default_rng([*self.seed, epoch]).permutation(len(self.lengths))
            ends = np.cumsum(self.lengths[blocks])
            return blocks, np.concatenate([[0], ends[self.window_blocks - 1 :: self.window_blocks], ends[-1:]])

        return _kept(self._epochs, epoch, make)

    def _shuffled(self, epoch: int, number: int) -> np.ndarray:
        def make() -> np.ndarray:
            blocks = self._epoch(epoch)[0][number * self.window_blocks : (number + 1) * self.window_blocks]
            elements = np.concatenate([np.arange(self.starts[block], self.starts[block + 1]) for block in blocks])
            return np.random.default_rng([*self.seed, epoch, number]).permutation(elements)

        return _kept(self._windows, (epoch, number), make)


def _kept(cache: OrderedDict, key, make):
    if key not in cache:
        cache[key] = make()
        while len(cache) > _KEPT:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
