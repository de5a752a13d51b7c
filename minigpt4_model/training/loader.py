"""Batches by step, made ahead by worker processes.

Step `s` of a run holds the samples `s * global_batch_size` to `(s + 1) * global_batch_size` of the mixture, and each rank takes
its slice of them. So batches depend on the step alone: not on the number of workers, nor on where a run was resumed, and all
ranks together see what one rank would have seen.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from .sources import Mixture, Sample, SourceError, Tally
from .sources.tally import MAX_BROKEN

Collate = Callable[[list[Sample]], Any]


@dataclass(frozen=True)
class StepBatches:
    """`batches[step]` is what `collate` makes of this rank's samples, with the tally of broken ones met on the way."""

    mixture: Mixture
    collate: Collate
    global_batch_size: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self):
        if self.global_batch_size < 1 or self.global_batch_size % self.world_size:
            raise ValueError(
                f"The global batch of {self.global_batch_size} cannot be shared out evenly over {self.world_size} processes: "
                "choose a --batch-size that they divide."
            )
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} of {self.world_size}")

    def numbers(self, step: int) -> range:
        """The numbers of this rank's samples."""
        size = self.global_batch_size // self.world_size
        start = step * self.global_batch_size + self.rank * size
        return range(start, start + size)

    def __getitem__(self, step: int) -> tuple[int, Any, Tally, str]:
        """`(step, batch, tally, error)`; an error of the data travels as text, because it has to be told by the main process."""
        tally = Tally()
        try:
            samples = [self.mixture.sample(number, tally) for number in self.numbers(step)]
        except SourceError as error:
            return step, None, tally, str(error)
        return step, self.collate(samples), tally, ""


def batches(
    mixture: Mixture,
    collate: Collate,
    global_batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    start_step: int = 0,
    num_workers: int = 0,
    *,
    stop_step: int | None = None,
    max_broken: float = MAX_BROKEN,
    tally: Tally | None = None,
    pin_memory: bool = False,
    prefetch_factor: int = 2,
) -> Iterator[tuple[int, Any]]:
    """`(step, collate(samples))` for the steps from `start_step` on, without end unless `stop_step` says so.

    `collate` runs in the workers, so it should make tensors and must be a function that can be pickled where processes are
    spawned. Broken samples are added to `tally` as their batch is handed out. Closing the iterator ends the workers. Raises
    `SourceError` when more than `max_broken` of a source cannot be used.
    """
    steps: Iterable[int] = count(start_step) if stop_step is None else range(start_step, stop_step)
    prepared = StepBatches(mixture, collate, global_batch_size, rank, world_size)
    return _checked(_prepared(prepared, steps, num_workers, pin_memory, prefetch_factor), Tally() if tally is None else tally, max_broken)


def _checked(prepared: Iterator[tuple[int, Any, Tally, str]], tally: Tally, max_broken: float) -> Iterator[tuple[int, Any]]:
    try:
        for step, batch, found, error in prepared:
            tally.add(found)
            if error:
                raise SourceError(error)
            tally.check(max_broken)
            yield step, batch
    finally:
        prepared.close()


def _prepared(
    prepared: StepBatches, steps: Iterable[int], num_workers: int, pin_memory: bool, prefetch_factor: int
) -> Iterator[tuple[int, Any, Tally, str]]:
    if not num_workers:
        yield from map(prepared.__getitem__, steps)
        return
    from torch.utils.data import DataLoader

    loader = DataLoader(
        prepared,
        batch_size=None,  # an item is a whole batch
        sampler=steps,
        collate_fn=_as_it_is,
        num_workers=num_workers,
        prefetch_factor=prefetch_factor,
        pin_memory=pin_memory,
    )
    iterator = iter(loader)
    try:
        yield from iterator
    finally:
        iterator._shutdown_workers()  # without this they live until the garbage collector comes by


def _as_it_is(item: Any) -> Any:
    return item
