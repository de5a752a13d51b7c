"""What an annotator can do on the page: sign in, keep, edit, drop, undo, skip, go back, choose what to see.

Every action gets from the browser who asks and what was on the screen, and keeps nothing in between: a reload, a restart of the server
or another tab changes nothing. Where things are on the page is `annotation_page`'s business.
"""

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from .agreement import agreements, pace
from .annotation_view import about_html, agreement_html, change_html, note_html, picture_html, progress_html
from .decisions import EmptyText, StaleView, View, accept, drop, save_draft, undo
from .errors import CurationError
from .project import Project
from .schema import EDIT, OPEN
from .worklist import EVERY, FILTERS, TO_DO, Shown, Wish, count_wished, held_by_others, hold, next_item, previous_item, show

LONGEST_NAME = 40
KEEP_LABEL, SAVE_LABEL = "Keep (K)", "Save edit (Ctrl+Enter)"
_NAMELESS = note_html("Say who you are: decisions are kept under your name.", warning=True)
ELSEWHERE = "You decided about that item before, in another tab perhaps: here is the next one."


class Page(NamedTuple):
    """New values for the page's parts, in the order in which `annotation_page` wires them; a part that is skipped stays as it is."""

    memory: Any = gr.skip()
    view: Any = gr.skip()
    picture: Any = gr.skip()
    about: Any = gr.skip()
    change: Any = gr.skip()
    box: Any = gr.skip()
    keep: Any = gr.skip()
    progress: Any = gr.skip()
    note: Any = gr.skip()
    sign_in: Any = gr.skip()
    work: Any = gr.skip()
    status: Any = gr.skip()
    rule: Any = gr.skip()


@dataclass(frozen=True)
class Memory:
    """What the browser keeps of an annotator: the name, what they wish to see, the item on the screen (0: none)."""

    name: str = ""
    status: str = TO_DO
    rule: str = EVERY
    item: int = 0

    @classmethod
    def read(cls, kept: str | None) -> "Memory":
        """What `kept` says; nothing where it is no memory, for browsers hold what earlier versions wrote."""
        try:
            found = json.loads(kept or "{}")
            memory = cls(**{name: found[name] for name in ("name", "status", "rule", "item") if name in found})
            known = (
                isinstance(memory.name, str) and memory.status in FILTERS and isinstance(memory.rule, str) and isinstance(memory.item, int)
            )
        except (ValueError, TypeError):
            return cls()
        return memory if known else cls()

    def __str__(self) -> str:
        return json.dumps(dataclasses.asdict(self))


class Actions:
    """The actions on one project. Several annotators use them at the same time. `overlap` is the share shown to two people."""

    def __init__(self, project: Project, overlap: float):
        self._project = project
        self._overlap = overlap

    def come_back(self, kept: str) -> Page:
        """When the page opens: the item that was on this tab's screen, or the sign-in."""
        memory = Memory.read(kept)
        if not memory.name:
            return Page(sign_in=gr.Column(visible=True), work=gr.Column(visible=False), note=note_html(""))
        known = self._project.row("SELECT 1 FROM texts WHERE item_id = ?", memory.item)
        return self._show(memory, memory.item, again=True) if known else self._next(memory, 0)

    def sign_in(self, name: str, kept: str) -> Page:
        """A name that differs from a known one in capitals or blanks only is that one."""
        name = " ".join(re.sub(r"[^\w .'@-]", " ", name or "").split())[:LONGEST_NAME]
        if not name:
            return Page(note=_NAMELESS)
        known = [row["annotator"] for row in self._project.rows("SELECT DISTINCT annotator FROM decisions")]
        name = next((other for other in known if other.casefold() == name.casefold()), name)
        return self._next(dataclasses.replace(Memory.read(kept), name=name, item=0), 0)

    def sign_out(self, kept: str) -> Page:
        memory = dataclasses.replace(Memory.read(kept), name="", item=0)
        return Page(memory=str(memory), sign_in=gr.Column(visible=True), work=gr.Column(visible=False), note=note_html(""))

    def wish(self, kept: str, status: str, rule: str) -> Page:
        return self._next(dataclasses.replace(Memory.read(kept), status=status, rule=rule), 0)

    def keep(self, kept: str, seen: str, text: str) -> Page:
        """Lets the item pass with what is in the box: kept if that is the version shown, edited if not."""
        memory, view = Memory.read(kept), _read_view(seen)
        if view is None or not memory.name:
            return self._next(memory, 0) if memory.name else Page(note=_NAMELESS)
        try:
            verdict = accept(self._project, memory.name, view, text)
        except EmptyText:
            return Page(note=note_html("There is no text in the box. Drop the item (D) if none can be found.", warning=True))
        except StaleView:
            return self._next(memory, view.item, ELSEWHERE)
        return self._next(memory, view.item, f"Item {view.item} {'saved with your edit' if verdict == EDIT else 'kept'}.")

    def drop(self, kept: str, seen: str) -> Page:
        memory, view = Memory.read(kept), _read_view(seen)
        if view is None or not memory.name:
            return self._next(memory, 0) if memory.name else Page(note=_NAMELESS)
        try:
            drop(self._project, memory.name, view)
        except StaleView:
            return self._next(memory, view.item, ELSEWHERE)
        return self._next(memory, view.item, f"Item {view.item} dropped.")

    def undo(self, kept: str) -> Page:
        """Takes the annotator's last decision back and shows its item; an edit's wording is in the box again."""
        memory = Memory.read(kept)
        if not memory.name:
            return Page(note=_NAMELESS)
        item = undo(self._project, memory.name)
        if item is None:
            return Page(note=note_html("There is nothing to undo.", warning=True))
        hold(self._project, memory.name, item)
        return self._show(memory, item, f"Your decision about item {item} is undone.")

    def skip(self, kept: str, seen: str) -> Page:
        view = _read_view(seen)
        return self._next(Memory.read(kept), view.item if view else 0)

    def back(self, kept: str, seen: str) -> Page:
        memory, view = Memory.read(kept), _read_view(seen)
        item = previous_item(self._project, memory.name, self._wish(memory), view.item if view else 2**62)
        return self._show(memory, item) if item else Page(note=note_html("This is the first one."))

    def type(self, kept: str, seen: str, text: str) -> tuple[Any, Any, Any]:
        """While somebody types: the draft is kept, the changes are shown, the item is held on. Gives change, button and note."""
        memory, view = Memory.read(kept), _read_view(seen)
        try:
            if view is None or not memory.name or not save_draft(self._project, memory.name, view, text):
                return gr.skip(), gr.skip(), gr.skip()
            hold(self._project, memory.name, view.item)
        except CurationError as fault:
            return gr.skip(), gr.skip(), note_html(f"What you type is not kept: {fault}", warning=True)
        shown = show(self._project, memory.name, view.item, self._wish(memory))
        return change_html(shown, text), _keep_button(shown, text), gr.skip()

    def agreement(self) -> str:
        return agreement_html(agreements(self._project))

    def _wish(self, memory: Memory) -> Wish:
        return Wish(memory.status, memory.rule, self._overlap)

    def _next(self, memory: Memory, after: int, note: str = "") -> Page:
        item = next_item(self._project, memory.name, self._wish(memory), after)
        if item is None:
            held = held_by_others(self._project, memory.name) if memory.status == TO_DO else 0
            rest = f" {held} are on other people's screens." if held else ""
            note = " ".join(filter(None, (note, f"There is nothing (more) to show.{rest}")))
        return self._show(memory, item, note)

    def _show(self, memory: Memory, item: int | None, note: str = "", again: bool = False) -> Page:
        if again:
            hold(self._project, memory.name, item)
        shown = show(self._project, memory.name, item, self._wish(memory)) if item else None
        text = shown.text if shown else ""
        memory = dataclasses.replace(memory, item=item or 0)
        return Page(
            memory=str(memory),
            view=json.dumps(dataclasses.asdict(shown.view)) if shown else "",
            picture=picture_html(shown),
            about=about_html(shown),
            change=change_html(shown, text),
            box=gr.Textbox(value=text, interactive=shown is not None),
            keep=_keep_button(shown, text),
            progress=self._progress(memory),
            note=note_html(note),
            sign_in=gr.Column(visible=False),
            work=gr.Column(visible=True),
            status=memory.status,
            rule=memory.rule,
        )

    def _progress(self, memory: Memory) -> str:
        value = self._project.value
        total = value("SELECT COUNT(*) FROM items WHERE id IN (SELECT item_id FROM texts)")
        judged = value("SELECT COUNT(*) FROM items WHERE status != ?", OPEN)
        left = count_wished(self._project, memory.name, Wish(TO_DO, EVERY, self._overlap))
        return progress_html(memory.name, judged, total, left, pace(self._project, memory.name))


def _keep_button(shown: Shown | None, text: str) -> Any:
    changed = shown is not None and text.strip() != shown.base_text
    return gr.Button(value=SAVE_LABEL if changed else KEEP_LABEL, interactive=shown is not None)


def _read_view(seen: str) -> View | None:
    """What was on the screen; None where nothing was."""
    try:
        found = json.loads(seen or "null")
        return View(int(found["item"]), int(found["base"]), int(found["decision"]), float(found["since"])) if found else None
    except (ValueError, KeyError, TypeError):
        return None
