"""Counts the samples that could not be used, by source and reason, and says when there are too many.

A tally is plain data: every worker fills its own and the process that trains adds them up, so counts are the same with any
number of workers.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from .sample import SourceError

EXAMPLES = 3
MIN_LOOKED_AT = 200
MAX_BROKEN = 0.10


class TooManyBroken(SourceError):
    """A source of which too much cannot be used."""


@dataclass
class SourceTally:
    """`looked_at` counts every sample that was tried, broken ones included."""

    looked_at: int = 0
    reasons: Counter = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def broken(self) -> int:
        return sum(self.reasons.values())

    def add_examples(self, examples: list[str]) -> None:
        """Keeps the first few, each once: a small source is met again and again."""
        self.examples = list(dict.fromkeys([*self.examples, *examples]))[:EXAMPLES]

    def describe(self) -> str:
        counted = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.most_common())
        return f"{self.broken} of {self.looked_at} samples cannot be used ({counted}). For example: {'; '.join(self.examples)}"


@dataclass
class Tally:
    """What was found in each source, by its name."""

    sources: dict[str, SourceTally] = field(default_factory=dict)

    def good(self, source: str) -> None:
        self.sources.setdefault(source, SourceTally()).looked_at += 1

    def broken(self, source: str, key: str, reason: str, detail: str) -> None:
        counts = self.sources.setdefault(source, SourceTally())
        counts.looked_at += 1
        counts.reasons[reason] += 1
        counts.add_examples([f"{key}: {detail.rstrip('.')}"])

    def add(self, other: "Tally") -> None:
        for name, found in other.sources.items():
            ours = self.sources.setdefault(name, SourceTally())
            ours.looked_at += found.looked_at
            ours.reasons.update(found.reasons)
            ours.add_examples(found.examples)

    def check(self, max_broken: float = MAX_BROKEN, sizes: Mapping[str, int] | None = None) -> None:
        """Raises `TooManyBroken` when more than this share of a source is broken.

        Judged once `MIN_LOOKED_AT` samples were tried, or as many as a smaller source has (`sizes`, by name).
        """
        for name, counts in self.sources.items():
            enough = min(MIN_LOOKED_AT, (sizes or {}).get(name, MIN_LOOKED_AT))
            if counts.looked_at >= enough and counts.broken > max_broken * counts.looked_at:
                raise too_many(name, counts, f"more than --max-broken {max_broken:g} allows")

    def report(self) -> list[str]:
        """One sentence for each source in which something was broken."""
        return [f"{name}: {counts.describe()}." for name, counts in self.sources.items() if counts.broken]

    def as_dict(self) -> dict:
        """For JSON: a checkpoint or a report keeps it; `from_dict` gives it back."""
        return {
            name: {"looked_at": counts.looked_at, "broken": dict(counts.reasons), "examples": counts.examples}
            for name, counts in self.sources.items()
        }

    @classmethod
    def from_dict(cls, data: dict) -> "Tally":
        return cls({name: SourceTally(row["looked_at"], Counter(row["broken"]), list(row["examples"])) for name, row in data.items()})


def too_many(name: str, counts: SourceTally, limit: str) -> TooManyBroken:
    return TooManyBroken(
        f"--data {name}: {counts.describe()}. That is {limit}. Look at the source with "
        f"python -m minigpt4_model.training.sources, and mend it, or raise --max-broken."
    )
