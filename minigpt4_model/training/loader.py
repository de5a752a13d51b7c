"""Batches by step, made ahead by worker processes.

Step `s` of a run holds the samples `s * global_batch_size` to `(s + 1) * global_batch_size` of the mixture, and each rank takes
its slice of them. So batches depend on the step alone: not on the number of workers, nor on where a run was resumed, and all
ranks together see what one rank would have seen.
"""

import copy
import signal
from collections.abc import Callable, Generator, Mapping
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
    max_broken: float = MAX_BROKEN,
    before: Tally | None = None,
    pin_memory: bool = False,
) -> Generator[tuple[int, Any, Tally]]:
    """`(step, collate(samples), what was found)` for the steps from `start_step` on, without end.

    `collate` runs in the workers, so it should make tensors and must be a function that can be pickled where processes are
    spawned. `before` is what was found in earlier steps; it is left as it is, for only the caller knows which batches were used.
    `pin_memory` (with workers, for CUDA) puts tensors where they can be copied to the device while it computes. Closing the
    generator ends the workers. Raises `SourceError` when more than `max_broken` of a source cannot be used.
    """
    prepared = StepBatches(mixture, collate, global_batch_size, rank, world_size)
    tally = Tally() if before is None else copy.deepcopy(before)
    sizes = {source.name: len(source) for source in mixture.sources}
    return _checked(_prepared(prepared, start_step, num_workers, pin_memory), tally, max_broken, sizes)


def _checked(
    prepared: Generator[tuple[int, Any, Tally, str]], tally: Tally, max_broken: float, sizes: Mapping[str, int]
) -> Generator[tuple[int, Any, Tally]]:
    try:
        for step, batch, found, error in prepared:
            tally.add(found)
            if error:
                raise SourceError(error)
            tally.check(max_broken, sizes)
            yield step, batch, found
    finally:
        prepared.close()


def _prepared(prepared: StepBatches, start_step: int, num_workers: int, pin_memory: bool) -> Generator[tuple[int, Any, Tally, str]]:
    if not num_workers:
        for step in count(start_step):  # not map(): it would take a StopIteration in a sample for the end of the data
            yield prepared[step]
    from torch.utils.data import DataLoader

    loader = DataLoader(
        prepared,
        batch_size=None,  # an item is a whole batch
        sampler=count(start_step),
        collate_fn=_as_it_is,
        num_workers=num_workers,
        worker_init_fn=_leave_ctrl_c_to_the_main_process,
        pin_memory=pin_memory,
    )
    iterator = iter(loader)
    try:
        yield from iterator
    finally:
        iterator._shutdown_workers()  # without this they live until the garbage collector comes by


def _leave_ctrl_c_to_the_main_process(worker: int) -> None:
    """A terminal sends Ctrl-C to all of a program's processes; a worker that ended by it would end the run before it is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(item: Any) -> Any:
    return item
