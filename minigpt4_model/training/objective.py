"""What a stage brings to the trainer: batches as a function of the step, and losses that can be added up over processes.

A loss is a weighted sum of means. A mean is taken over everything that counts in the whole step, whichever process or piece of
the step it is in; so an objective gives sums and counts, and the trainer divides.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import PIL.Image
import torch

Metrics = dict[str, float]
Figures = dict[str, tuple[torch.Tensor | float, float]]  # name -> (sum, how many)
# Adds numbers up over all processes; every process gets the sums.
AddUp = Callable[[list[float]], list[float]]


@dataclass(frozen=True)
class Share:
    """Which part of every batch this process computes, and in how many pieces."""

    rank: int = 0
    world_size: int = 1
    pieces: int = 1

    def slices(self, batch_size: int) -> list[slice]:
        """The rows of this process, one slice a piece; none is empty as long as there are rows enough."""
        first, last = (batch_size * rank // self.world_size for rank in (self.rank, self.rank + 1))
        bounds = [first + (last - first) * piece // self.pieces for piece in range(self.pieces + 1)]
        return [slice(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False)]


@dataclass(frozen=True)
class SampleAnswer:
    """What the model says of a fixed picture, for people to look at. `expected` may be empty."""

    picture: PIL.Image.Image
    question: str
    answer: str
    expected: str = ""


class Objective(ABC):
    """What one stage learns. `weights` are those of the loss's terms."""

    weights: Mapping[str, float] = {"loss": 1.0}

    @abstractmethod
    def batches(self, start: int, share: Share) -> Generator[list[Any]]:
        """This process's share of the steps from `start` on, each as its pieces. The same step gives the same data, always."""

    @abstractmethod
    def counts(self, piece: Any) -> dict[str, float]:
        """How much there is to learn in a piece, for each term."""

    @abstractmethod
    def loss(self, model: torch.nn.Module, piece: Any) -> tuple[dict[str, torch.Tensor], Figures]:
        """The sum of each term over what counts in a piece, and figures to log.

        `model` may be wrapped, so it is called and not reached into; tensors of the piece are on its device.
        """

    def finish_step(self) -> None:
        """Called after every optimizer step, in the thread that trains: the oldest batch that is not yet counted was learned from."""
        return None

    @abstractmethod
    def evaluate(self, model: torch.nn.Module, add_up: AddUp) -> Metrics:
        """Figures on held-out data; the one called "score" picks the best checkpoint (higher is better).

        Called in every process, and the same in each: work that was shared out is put together with `add_up`.
        """

    def samples(self) -> list[SampleAnswer]:
        """Answers on fixed pictures, in every process."""
        return []

    def binding(self) -> dict[str, str]:
        """Flag -> value of what the data is made of: a run only goes on with the same."""
        return {}

    def state(self) -> dict[str, Any]:
        """Plain data of this process to keep in a checkpoint, such as a count of broken samples."""
        return {}

    def load_state(self, states: list[dict[str, Any]]) -> None:
        """Takes up what `state` gave, one for each process of the run that was saved; called in the main process only."""
        return None

    def notices(self, states: list[dict[str, Any]]) -> list[str]:
        """Sentences about the data for the final report, from all processes' states."""
        return []


class DrawnObjective(Objective):
    """An objective whose whole batch is drawn from the step's number: `(tensor, list or tensor)` of equal lengths."""

    @abstractmethod
    def batch(self, step: int) -> tuple[torch.Tensor, Any]: ...

    def batches(self, start: int, share: Share) -> Generator[list[Any]]:
        for step in count(start):
            with torch.no_grad():
                inputs, wanted = self.batch(step)
            yield [(inputs[rows], wanted[rows]) for rows in share.slices(len(inputs))]
