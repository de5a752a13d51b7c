"""What of a project goes into a data set, and on which side of the split: whoever reads the card finds every reason counted here."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .decisions import outcome
from .duplicates import same_pictures
from .pictures import drawn_lot
from .project import Project
from .schema import DISPUTED, DROPPED, OPEN

_SPLIT_DIGITS = 8  # other digits of the digest than those of `items.lot`


@dataclass(frozen=True)
class Chosen:
    """An item that goes in, with the version of its text that counts. `history` are its versions' steps and authors, first to last."""

    item: int
    digest: str
    picture: Path
    text: str
    status: str
    held_out: bool
    history: tuple[tuple[str, str], ...]
    marks: tuple[str, ...]
    places: tuple[str, ...]


@dataclass
class Selection:
    """What goes in, and how many items do not, by reason."""

    chosen: list[Chosen] = field(default_factory=list)
    left_out: Counter = field(default_factory=Counter)

    @property
    def train(self) -> list[Chosen]:
        return [one for one in self.chosen if not one.held_out]

    @property
    def held_out(self) -> list[Chosen]:
        return [one for one in self.chosen if one.held_out]


def select(project: Project, held_out: float, only_checked: bool = False, allowed_rules: Sequence[str] = ()) -> Selection:
    """Everything that people let pass; what nobody judged too, unless a rule marked it or `only_checked` is set.

    A picture's side follows from its pixels, so it is the same in every export; pictures that look the same are on one side.
    """
    verdicts, texts, marks, places = (_by_item(project, sql) for sql in (_VERDICTS, _TEXTS, _MARKS, _PLACES))
    items = project.rows("SELECT id, digest, thumbnail, status FROM items ORDER BY id")
    first = same_pictures([item["thumbnail"] for item in items])
    selection = Selection()
    for position, item in enumerate(items):
        versions = {row["id"]: row for row in texts[item["id"]]}
        status, version = outcome(verdicts[item["id"]])
        found = tuple(row["rule"] for row in marks[item["id"]])
        reason = _reason(bool(versions), status, [rule for rule in found if rule not in allowed_rules], only_checked)
        if reason:
            selection.left_out[reason] += 1
            continue
        if version is None:
            version = max(row["id"] for row in versions.values() if row["step"] != "edit")
        decides = items[first.get(position, position)]["digest"]
        selection.chosen.append(
            Chosen(
                item["id"],
                item["digest"],
                project.picture_file(item["digest"]),
                versions[version]["text"],
                status,
                drawn_lot(decides, _SPLIT_DIGITS) < held_out,
                _history(versions, version),
                found,
                tuple(f"{row['name']}: {row['place']}" for row in places[item["id"]]),
            )
        )
    return selection


def _reason(described: bool, status: str, marks: Sequence[str], only_checked: bool) -> str:
    """Why an item is left out, or ""."""
    if not described:
        return "has no text"
    if status == DROPPED:
        return "dropped by people"
    if status == DISPUTED:
        return "people are at odds about it"
    if status == OPEN and only_checked:
        return "nobody has judged it"
    if status == OPEN and marks:
        return "marked by a rule, and nobody has judged it"
    return ""


def _history(versions: dict[int, Any], version: int) -> tuple[tuple[str, str], ...]:
    steps: list[tuple[str, str]] = []
    at: int | None = version
    while at is not None:
        row = versions[at]
        steps.insert(0, (row["step"], row["author"]))
        at = row["parent_id"]
    return tuple(steps)


_VERDICTS = "SELECT * FROM verdicts"
_TEXTS = "SELECT * FROM texts"
_MARKS = "SELECT current.item_id, marks.rule FROM marks JOIN current ON current.id = marks.text_id ORDER BY marks.rule"
_PLACES = "SELECT places.item_id, sources.name, places.place FROM places JOIN sources ON sources.id = places.source_id"


def _by_item(project: Project, sql: str) -> dict[int, list]:
    found = defaultdict(list)
    for row in project.rows(sql):
        found[row["item_id"]].append(row)
    return found
