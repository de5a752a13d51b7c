"""What people decide about items, and what follows from it.

A decision is a row that stays; undoing marks it. Of each annotator the last one about an item counts. If all who judged an item let
it pass, in whatever wording, it is kept or edited, and the newest edit is its text; if they are at odds it is disputed until somebody
decides about the dispute.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .project import Project, add_text, author_name, storable
from .schema import DISPUTED, DROP, DROPPED, EDIT, EDITED, EDITING, KEEP, KEPT, OPEN


class StaleView(Exception):
    """The annotator has decided about this item since it was put on this screen."""


class EmptyText(Exception):
    """A text cannot be empty; an item without a good text is dropped."""


@dataclass(frozen=True)
class View:
    """What was on an annotator's screen: the item, the version in the box, their last decision about it (0: none), since when."""

    item: int
    base: int
    decision: int
    since: float


# Longer than this nobody looks at one picture: they were away.
LONGEST_LOOK_S = 300.0


def accept(project: Project, annotator: str, view: View, text: str) -> str:
    """Lets the item pass with `text`; another wording than the one shown becomes a version of its own. Returns the verdict.

    Raises `StaleView` and `EmptyText`; nothing is changed then.
    """
    text = storable(text).strip()
    if not text:
        raise EmptyText
    with project.writing() as connection:
        base = connection.execute("SELECT step, text FROM texts WHERE id = ?", (view.base,)).fetchone()
        _require_fresh(project, annotator, view)
        version, verdict = view.base, EDIT if base["step"] == EDITING else KEEP
        if text != base["text"]:
            version, verdict = add_text(connection, view.item, EDITING, author_name(annotator), text, view.base), EDIT
        _decide(project, connection, annotator, view, verdict, version)
    return verdict


def drop(project: Project, annotator: str, view: View) -> None:
    """Takes the item out of the data set; its texts stay. Raises `StaleView`."""
    with project.writing() as connection:
        _require_fresh(project, annotator, view)
        _decide(project, connection, annotator, view, DROP, view.base)


def undo(project: Project, annotator: str) -> int | None:
    """Takes the annotator's last decision back and returns its item; the wording of an edit becomes a draft. None: there is none."""
    with project.writing() as connection:
        last = connection.execute(
            "SELECT d.*, t.text FROM decisions d JOIN texts t ON t.id = d.text_id "
            "WHERE d.annotator = ? AND d.undone_at IS NULL ORDER BY d.id DESC LIMIT 1",
            (annotator,),
        ).fetchone()
        if last is None:
            return None
        connection.execute("UPDATE decisions SET undone_at = ? WHERE id = ?", (time.time(), last["id"]))
        if last["text_id"] != last["base_id"]:
            _keep_draft(connection, annotator, last["item_id"], last["base_id"], last["text"])
        _set_status(project, connection, last["item_id"])
        return last["item_id"]


def save_draft(project: Project, annotator: str, view: View, text: str) -> bool:
    """Keeps what is in the box; a text like the version shown is no draft. False: it came too late, after a decision."""
    with project.writing() as connection:
        try:
            _require_fresh(project, annotator, view)
        except StaleView:
            return False
        base = connection.execute("SELECT text FROM texts WHERE id = ?", (view.base,)).fetchone()
        if storable(text) == base["text"]:
            connection.execute("DELETE FROM drafts WHERE item_id = ? AND annotator = ?", (view.item, annotator))
        else:
            _keep_draft(connection, annotator, view.item, view.base, storable(text))
    return True


def last_decision(project: Project, annotator: str, item: int) -> int:
    """The id of the annotator's decision that counts about an item; 0 where there is none."""
    return project.value("SELECT MAX(id) FROM decisions WHERE item_id = ? AND annotator = ? AND undone_at IS NULL", item, annotator) or 0


def verdicts_about(project: Project, item: int) -> list:
    """The decision that counts of each annotator, as rows."""
    return project.rows(
        "SELECT * FROM decisions WHERE id IN (SELECT MAX(id) FROM decisions WHERE item_id = ? AND undone_at IS NULL GROUP BY annotator)",
        item,
    )


def outcome(verdicts: Sequence[Any]) -> tuple[str, int | None]:
    """The status of an item and the version of its text that counts (None: dropped, disputed or open), by its rows of `verdicts`."""
    if not verdicts:
        return OPEN, None
    ordered = sorted(verdicts, key=lambda row: row["id"])
    settled = [row for row in ordered if row["settles"]]
    judged = settled[-1:] or ordered
    passed = [row for row in judged if row["verdict"] != DROP]
    if not passed:
        return DROPPED, None
    if len(passed) < len(judged):
        return DISPUTED, None
    edits = [row for row in passed if row["verdict"] == EDIT]
    return (EDITED, edits[-1]["text_id"]) if edits else (KEPT, passed[-1]["text_id"])


def _require_fresh(project: Project, annotator: str, view: View) -> None:
    if last_decision(project, annotator, view.item) != view.decision:  # inside the change: on the same connection
        raise StaleView


def _decide(project: Project, connection, annotator: str, view: View, verdict: str, version: int) -> None:
    now = time.time()
    status = connection.execute("SELECT status FROM items WHERE id = ?", (view.item,)).fetchone()["status"]
    connection.execute(
        "INSERT INTO decisions (item_id, annotator, verdict, base_id, text_id, settles, seconds, added_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (view.item, annotator, verdict, view.base, version, status == DISPUTED, min(max(now - view.since, 0.0), LONGEST_LOOK_S), now),
    )
    for table in ("drafts", "claims"):
        connection.execute(f"DELETE FROM {table} WHERE item_id = ? AND annotator = ?", (view.item, annotator))
    _set_status(project, connection, view.item)


def _set_status(project: Project, connection, item: int) -> None:
    connection.execute("UPDATE items SET status = ? WHERE id = ?", (outcome(verdicts_about(project, item))[0], item))


def _keep_draft(connection, annotator: str, item: int, base: int, text: str) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO drafts (item_id, annotator, base_id, text) VALUES (?, ?, ?, ?)", (item, annotator, base, text)
    )
