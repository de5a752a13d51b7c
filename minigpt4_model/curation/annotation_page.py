"""The annotation page: where things are, and which event starts which action. Keys are in `annotation.js`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import gradio as gr

from ..ui.private_files import PrivatePage
from .annotation_actions import KEEP_LABEL, Actions, Page
from .annotation_view import note_html
from .clean import ALL_RULES
from .errors import CurationError
from .worklist import ANY_RULE, EVERY, FILTERS, NO_RULE, TO_DO

STYLE = Path(__file__).with_name("annotation.css")
_SCRIPT = Path(__file__).with_name("annotation.js")

# The name is the browser's; what is on the screen is the tab's.
_READ_MEMORY = """() => { try {
    const [name, kept] = [localStorage.getItem('minigpt4-annotator') || '', JSON.parse(sessionStorage.getItem('minigpt4-curation') || '{}')]
    return JSON.stringify({...kept, name})
} catch { return '{}' } }"""
_KEEP_MEMORY = """(kept) => { try {
    localStorage.setItem('minigpt4-annotator', JSON.parse(kept).name)
    sessionStorage.setItem('minigpt4-curation', kept)
} catch {} return kept }"""
_READY = "() => { window.curation?.ready() }"
_FOCUS = "() => { window.curation?.edit() }"


def build_page(actions: Actions, title: str) -> PrivatePage:
    """The page of a project; it is not served yet."""
    with PrivatePage(title=title, analytics_enabled=False) as page:
        memory = gr.Textbox(visible="hidden", label="Memory", elem_id="memory")
        view = gr.Textbox(visible="hidden", label="View", elem_id="view")
        gr.HTML(
            "<h1>Check descriptions</h1><p>Is everything that the text says in the picture, and well said?</p>",
            padding=False,
            elem_id="header",
        )
        note = gr.HTML("", padding=False, elem_id="note")
        with gr.Column(visible=False, elem_id="sign-in") as sign_in:
            name = gr.Textbox(
                label="Your name", info="Decisions are kept under it. The same name goes on where it stopped.", elem_id="name", max_lines=1
            )
            begin = gr.Button("Begin", variant="primary", elem_id="begin")
        with gr.Column(visible=False, elem_id="work") as work:
            with gr.Row(elem_id="bar"):
                status = gr.Dropdown(list(FILTERS), value=TO_DO, label="Show", elem_id="status-filter", filterable=False)
                rule = gr.Dropdown(
                    [EVERY, ANY_RULE, NO_RULE, *ALL_RULES], value=EVERY, label="Marked by", elem_id="rule-filter", filterable=False
                )
                progress = gr.HTML("", padding=False, elem_id="progress")
            with gr.Row(elem_id="item"):
                with gr.Column(scale=5, min_width=300):
                    picture = gr.HTML("", padding=False, elem_id="picture")
                with gr.Column(scale=6, min_width=300):
                    about = gr.HTML("", padding=False, elem_id="about")
                    change = gr.HTML("", padding=False, elem_id="change")
                    box = gr.Textbox(label="Text", lines=6, max_lines=16, elem_id="text")
                    with gr.Row(elem_id="buttons"):
                        keep = gr.Button(KEEP_LABEL, variant="primary", elem_id="keep", min_width=80)
                        edit = gr.Button("Edit (E)", elem_id="edit", min_width=80)
                        drop = gr.Button("Drop (D)", elem_id="drop", min_width=80)
                        undo = gr.Button("Undo (U)", elem_id="undo", min_width=80)
                        back = gr.Button("Back (←)", elem_id="back", min_width=80)
                        skip = gr.Button("Skip (→)", elem_id="skip", min_width=80)
            with gr.Accordion("How far people agree", open=False, elem_id="agreement") as fold:
                agreed = gr.HTML("", padding=False, elem_id="agreed")
            leave = gr.Button("Change name", size="sm", elem_id="leave")
        ready = gr.HTML("", padding=False, elem_id="ready")

        parts = [memory, view, picture, about, change, box, keep, progress, note, sign_in, work, status, rule]
        quick = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}

        def on(event, action, inputs) -> None:
            """`action` for `event`; when the page shows what came of it, keys are taken again."""
            event(_told(action), inputs, parts, **quick).then(None, js=_READY, api_visibility="private")

        on(begin.click, actions.sign_in, [name, memory])
        on(name.submit, actions.sign_in, [name, memory])
        on(leave.click, actions.sign_out, [memory])
        on(keep.click, actions.keep, [memory, view, box])
        on(drop.click, actions.drop, [memory, view])
        on(undo.click, actions.undo, [memory])
        on(skip.click, actions.skip, [memory, view])
        on(back.click, actions.back, [memory, view])
        on(status.input, actions.wish, [memory, status, rule])
        on(rule.input, actions.wish, [memory, status, rule])
        edit.click(None, js=_FOCUS, api_visibility="private")
        box.input(actions.type, [memory, view, box], [change, keep, note], trigger_mode="always_last", **quick)
        fold.expand(actions.agreement, None, agreed, **quick)
        memory.change(None, [memory], [memory], js=_KEEP_MEMORY, api_visibility="private")

        page.load(None, js=_SCRIPT.read_text("utf-8"), api_visibility="private")
        opened = page.load(actions.come_back, [memory], parts, js=_READ_MEMORY, **quick)
        opened.then(partial(str, '<span id="app-ready"></span>'), None, ready, **quick)
    page.queue(max_size=None, api_open=False)
    return page


def _told(action: Callable[..., Page]) -> Callable[..., Page]:
    """`action` whose faults, such as a full disk, become a sentence on the page: nothing else of it changes."""

    def run(*values: str) -> Page:
        try:
            return action(*values)
        except CurationError as fault:
            return Page(note=note_html(str(fault), warning=True))

    return run
