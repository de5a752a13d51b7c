"""Which item an annotator gets next, and what is shown of it.

An item is on one screen at a time: whoever gets it holds it for a while, and holds it longer by typing. A share of the items is shown
to two people, neither of whom sees what the other decided, so that their agreement can be measured.
"""

import time
from dataclasses import dataclass

from .decisions import View, last_decision, outcome, verdicts_about
from .project import Project
from .schema import DISPUTED, EDITING, OPEN, STATUSES

TO_DO, MINE, ALL = "to do", "mine", "all"
FILTERS = (TO_DO, *STATUSES, MINE, ALL)
ANY_RULE, NO_RULE, EVERY = "any rule", "no rule", "every item"
HOLD_S = 15 * 60.0


@dataclass(frozen=True)
class Wish:
    """What an annotator wants to see: a status and a rule, or one of the words above. `overlap` is the share shown to two people."""

    status: str = TO_DO
    rule: str = EVERY
    overlap: float = 0.0


@dataclass(frozen=True)
class Shown:
    """An item for the screen. `previous` is the text before the version shown, and who wrote it; `text` is the draft, if there is one."""

    view: View
    digest: str
    width: int
    height: int
    status: str
    base_text: str
    base_author: str
    previous_text: str | None
    previous_author: str
    text: str
    marks: dict[str, str]
    others: list[tuple[str, str]]
    places: list[str]


def next_item(project: Project, annotator: str, wish: Wish, after: int = 0) -> int | None:
    """The first item behind `after` that the annotator wishes for and may have, from the start again at the end; it is now held."""
    condition, values = _condition(annotator, wish)
    with project.writing() as connection:
        connection.execute("DELETE FROM claims WHERE annotator = ? OR until < ?", (annotator, time.time()))
        for where, start in (("i.id > ?", after), ("i.id <= ?", after)):
            found = connection.execute(
                f"SELECT i.id FROM items i WHERE {where} AND {condition} ORDER BY i.id LIMIT 1", (start, *values)
            ).fetchone()
            if found:
                _hold(connection, annotator, found["id"])
                return found["id"]
    return None


def previous_item(project: Project, annotator: str, wish: Wish, before: int) -> int | None:
    """The last item before `before` that the annotator wishes for; None at the beginning."""
    condition, values = _condition(annotator, wish)
    with project.writing() as connection:
        found = connection.execute(
            f"SELECT i.id FROM items i WHERE i.id < ? AND {condition} ORDER BY i.id DESC LIMIT 1", (before, *values)
        ).fetchone()
        if found:
            connection.execute("DELETE FROM claims WHERE annotator = ?", (annotator,))
            _hold(connection, annotator, found["id"])
        return found["id"] if found else None


def hold(project: Project, annotator: str, item: int) -> None:
    """Holds an item (longer) and no other, unless somebody else holds it."""
    with project.writing() as connection:
        connection.execute("DELETE FROM claims WHERE annotator = ? OR until < ?", (annotator, time.time()))
        if not connection.execute("SELECT 1 FROM claims WHERE item_id = ?", (item,)).fetchone():
            _hold(connection, annotator, item)


def held_by_others(project: Project, annotator: str) -> int:
    """How many items are on other people's screens."""
    return project.value("SELECT COUNT(*) FROM claims WHERE annotator != ? AND until >= ?", annotator, time.time())


def count_wished(project: Project, annotator: str, wish: Wish) -> int:
    condition, values = _condition(annotator, wish, held_too=True)
    return project.value(f"SELECT COUNT(*) FROM items i WHERE {condition}", *values)


def show(project: Project, annotator: str, item: int, wish: Wish) -> Shown:
    """Everything the screen needs of an item that has a text."""
    row = project.row("SELECT * FROM items WHERE id = ?", item)
    own = last_decision(project, annotator, item)
    verdicts = verdicts_about(project, item)
    draft = project.row("SELECT * FROM drafts WHERE item_id = ? AND annotator = ?", item, annotator)
    blind = wish.status == TO_DO and not own
    version = draft["base_id"] if draft else _version(project, item, own, [] if blind else verdicts)
    base = project.row("SELECT * FROM texts WHERE id = ?", version)
    previous = project.row("SELECT * FROM texts WHERE id = ?", base["parent_id"]) if base["parent_id"] else None
    marks = project.rows("SELECT rule, detail FROM marks WHERE text_id = ? ORDER BY rule", _current(project, item))
    places = project.rows("SELECT s.name, p.place FROM places p JOIN sources s ON s.id = p.source_id WHERE p.item_id = ?", item)
    return Shown(
        view=View(item, version, own, time.time()),
        digest=row["digest"],
        width=row["width"],
        height=row["height"],
        status=OPEN if blind else row["status"],
        base_text=base["text"],
        base_author=base["author"],
        previous_text=previous["text"] if previous else None,
        previous_author=previous["author"] if previous else "",
        text=draft["text"] if draft else base["text"],
        marks={mark["rule"]: mark["detail"] for mark in marks},
        others=[] if blind else [(told["annotator"], told["verdict"]) for told in verdicts if told["annotator"] != annotator],
        places=[f"{place['name']}: {place['place']}" for place in places],
    )


def _version(project: Project, item: int, own: int, verdicts: list) -> int:
    """The version to show: the annotator's own, else what the others' decisions come to, else the machine's."""
    if own:
        return project.value("SELECT text_id FROM decisions WHERE id = ?", own)
    status, settled = outcome(verdicts)
    if status == DISPUTED:
        settled = max((row["text_id"] for row in verdicts), default=None)  # an edit is newer than what it edits
    return settled or _current(project, item)


def _current(project: Project, item: int) -> int:
    """The item's version in the view `current`, without building the whole view."""
    return project.value("SELECT MAX(id) FROM texts WHERE item_id = ? AND step != ?", item, EDITING)


def _condition(annotator: str, wish: Wish, held_too: bool = False) -> tuple[str, list]:
    """SQL that says which items `i` are wished for, and its values."""
    wanted, values = ["EXISTS (SELECT 1 FROM texts t WHERE t.item_id = i.id)"], []
    mine = "EXISTS (SELECT 1 FROM decisions d WHERE d.item_id = i.id AND d.annotator = ? AND d.undone_at IS NULL)"
    if wish.status == TO_DO:
        wanted.append(f"NOT {mine}")
        judges = "SELECT COUNT(DISTINCT d.annotator) FROM decisions d WHERE d.item_id = i.id AND d.undone_at IS NULL"
        wanted.append(f"({judges}) < CASE WHEN i.lot < ? THEN 2 ELSE 1 END")
        values += [annotator, wish.overlap]
    elif wish.status == MINE:
        wanted.append(mine)
        values.append(annotator)
    elif wish.status != ALL:
        wanted.append("i.status = ?")
        values.append(wish.status)
    if wish.status in (TO_DO, DISPUTED) and not held_too:
        wanted.append("NOT EXISTS (SELECT 1 FROM claims c WHERE c.item_id = i.id AND c.annotator != ? AND c.until >= ?)")
        values += [annotator, time.time()]
    marked = (
        "EXISTS (SELECT 1 FROM marks m WHERE m.text_id = (SELECT MAX(t.id) FROM texts t WHERE t.item_id = i.id AND t.step != 'edit'){})"
    )
    if wish.rule == ANY_RULE:
        wanted.append(marked.format(""))
    elif wish.rule == NO_RULE:
        wanted.append("NOT " + marked.format(""))
    elif wish.rule != EVERY:
        wanted.append(marked.format(" AND m.rule = ?"))
        values.append(wish.rule)
    return " AND ".join(wanted), values


def _hold(connection, annotator: str, item: int) -> None:
    connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (item, annotator, time.time() + HOLD_S))
