"""What an evaluation is made of: items, verdicts, figures and tasks. No task, no model and no file format is known here.

A dataset is a source of conversations; a benchmark adds a judge. So an item is the house record of a conversation with what is
expected of the answer; a `Task` generates items, judges one answer at a time and folds the verdicts into figures. All three are
plain functions: judging again, with a better judge, needs no model.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Item:
    """One question. `messages` end with the user's; pictures in them are what `chat.pictures.load_picture` takes.

    `expected` holds what the judge needs, as plain JSON values; `shown` says it to a person. `settings` override generation
    settings for this item (a page of HTML is longer than a name).
    """

    id: str
    task: str
    messages: list[dict]
    expected: dict[str, Any]
    shown: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one answer. `right` is None where there is no right or wrong; `values` are what figures are made of.

    `note` tells a person what the judge understood: "said: left".
    """

    right: bool | None
    values: dict[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Judged:
    """An item with the answer it got and the verdict on it."""

    item: Item
    answer: str
    verdict: Verdict


@dataclass(frozen=True)
class Figure:
    """One number of the report, with the 95 % interval `low` to `high` and the `count` of judgements behind it.

    `chance` is the same figure when every answer is judged against another item's expectation. `least` and `aim` are what the
    project asks of the pocket model; a figure for which less is better says so. `unit`: "share" (shown in per cent) or "number".
    `looks` is False for a figure that does not depend on what was expected, which has no chance level.
    """

    name: str
    value: float
    count: int
    low: float
    high: float
    unit: str = "share"
    chance: float | None = None
    least: float | None = None
    aim: float | None = None
    less_is_better: bool = False
    looks: bool = True


Judge = Callable[[Item, str], Verdict]
Fold = Callable[[Sequence[Judged]], list[Figure]]


@dataclass(frozen=True)
class Task:
    """A generator of items, a judge and the figures made of its verdicts.

    `missing` says why there are no items, or that some are left out, and how to bring them. `own_text` marks tasks whose answers
    the language figures take for the model's own words about a picture; code and texts without a picture are none.
    """

    name: str
    title: str
    items: Callable[[], Iterable[Item]]
    judge: Judge
    figures: Fold
    missing: str = ""
    own_text: bool = True


class EvaluationError(ValueError):
    """A suite, a file or a flag cannot be used; the text names it and the fix."""
