"""Several sources drawn from by weight: `sample(number)` depends on the number and the seed alone.

So there is no state to save: a run that resumes at sample 1,000,000 sees what an uninterrupted one would have seen, and ranks
and workers share the numbers out among themselves. Proportions are exact: after n samples each source has given its share of
n to within a sample or two. Within an epoch of a source no element comes twice, except in the place of a broken one.
"""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ...chat.pictures import load_picture
from .order import WINDOW_BLOCKS, ShuffledOrder
from .sample import BrokenSample, PictureOpener, Sample, Source, SourceError, open_pictures, with_question
from .tally import Tally, too_many

MAX_ATTEMPTS = 100  # so many broken samples in a row are no accident


@dataclass(frozen=True)
class Place:
    """Where a sample lies: element `order(epoch, position)` of source `source`."""

    source: int
    epoch: int
    position: int


class Mixture:
    """Draws from `sources` by `weights`; without weights, in proportion to their sizes.

    `questions` are put to pictures that come without words (stage 2 of the paper: the alignment prompts), one drawn for each
    sample. `open_picture` makes of a picture's bytes or path what stands in the messages. `check`, where set, looks at every sample
    and raises `BrokenSample` for one that cannot be trained on. `mixture[n]` is `mixture.sample(n)`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        weights: Sequence[float] | None = None,
        seed: int = 0,
        shuffle_shards: int = WINDOW_BLOCKS,
        questions: Sequence[str] = (),
        open_picture: PictureOpener = load_picture,
    ):
        if not sources:
            raise SourceError("No data was given. Name at least one source with --data.")
        for source in sources:
            if not len(source):
                raise SourceError(f"--data {source.name} holds no samples.")
        if weights is None:
            weights = [len(source) for source in sources]
        if len(weights) != len(sources):
            raise SourceError(f"{len(sources)} sources have {len(weights)} weights: give each a weight, or none.")
        for source, weight in zip(sources, weights, strict=True):
            if not 0 < weight < float("inf"):
                raise SourceError(f"--data {source.name} has the weight {weight:g}. Weights are numbers above 0.")
        if len({source.name for source in sources}) < len(sources):
            raise SourceError("Two sources have the same name: rename one.")
        self.sources, self.seed, self.questions, self.open_picture = list(sources), seed, list(questions), open_picture
        self.check: Callable[[Sample], None] | None = None
        self.shuffle_shards = shuffle_shards
        # Decimal weights as exact fractions: 0.1 + 0.2 is 0.3, and proportions never drift over long runs.
        self.weights = [Fraction(str(weight)) for weight in weights]
        self.orders = [ShuffledOrder(source.blocks, (seed, number), shuffle_shards) for number, source in enumerate(sources)]

    @property
    def fingerprint(self) -> str:
        """Names the data and its order: a run may only be resumed with the same."""
        sources = [[source.fingerprint, str(weight)] for source, weight in zip(self.sources, self.weights, strict=True)]
        facts = json.dumps([sources, self.seed, self.shuffle_shards, self.questions])
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    @property
    def shares(self) -> dict[str, float]:
        """Each source's share of the samples, by name."""
        return {source.name: float(weight / sum(self.weights)) for source, weight in zip(self.sources, self.weights, strict=True)}

    def place(self, number: int) -> Place:
        """Where sample `number` lies. Pure, and opens no file."""
        if number < 0:
            raise IndexError(f"sample {number}")
        rest, weight_left = number, sum(self.weights)
        for index, weight in enumerate(self.weights):
            # Of the samples that are not the earlier sources', this one takes its share, evenly spaced.
            share = weight / weight_left
            before = rest * share.numerator // share.denominator
            if (rest + 1) * share.numerator // share.denominator > before:
                epoch, position = divmod(before, len(self.orders[index]))
                return Place(index, epoch, position)
            rest, weight_left = rest - before, weight_left - weight
        raise AssertionError("the last source takes what is left")

    def sample(self, number: int, tally: Tally | None = None) -> Sample:
        """Sample `number`, pictures opened; a broken one is counted in `tally` and replaced by another of its source.

        Which one is a function of the number too; it lies close by on the disk. Raises `TooManyBroken` when none can be found.
        """
        tally = Tally() if tally is None else tally
        place = self.place(number)
        source, order, position = self.sources[place.source], self.orders[place.source], place.position
        near = order.window(place.epoch, position)
        draw = random.Random(f"{self.seed} {number}")
        for _ in range(MAX_ATTEMPTS):
            index = order(place.epoch, position)
            try:
                closed = source[index]
                sample = open_pictures(closed, self.open_picture)
                messages = with_question(sample.messages, draw.choice(self.questions)) if self.questions else sample.messages
                sample = replace(sample, messages=messages, number=number)
                if self.check is not None:
                    self.check(sample)
            except BrokenSample as error:
                tally.broken(source.name, source.key(index), error.reason, str(error))
                position = draw.choice(near)
                continue
            tally.good(source.name)
            return sample
        raise too_many(source.name, tally.sources[source.name], f"{MAX_ATTEMPTS} broken ones in a row")

    def __getitem__(self, number: int) -> Sample:
        return self.sample(number)
