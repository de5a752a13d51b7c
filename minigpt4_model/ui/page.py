"""The page: chat, panels beside it, and which event starts which action.

To add a panel:

1. write one file with `build(page: PageParts) -> None`, which lays out the panel's components and wires their events;
2. give it a row in `PANELS`, and its title as `panel.NAME` in `texts/en.json` (and the other languages);
3. style it in `style.css` below `#panel-NAME`.

`PageParts` (`panel.py`) is all it gets, and enough: `page.on_settled(show, inputs, outputs)` calls `show(conversation, ...)` whenever
the conversation has changed and is at rest; `page.ask_on(button.click, question, inputs)` sends a question; `open_panel(NAME)` is the
`js` that shows a panel. Listeners take `**page.quick`. The panel's texts are in `texts.py`'s care.
"""

import html
from collections.abc import Mapping, Sequence
from functools import partial

import gradio as gr

from ..chat.backends.base import Backend
from ..serving.limits import Limits
from . import compare_panel, history_panel, html_pane, looked_panel, share_panel, tasks_panel
from .actions import Actions
from .chat_panel import build_box, build_chat, build_given
from .conversation import ConversationStore
from .demo_questions import DemoQuestion, offered, starters
from .endpoint import add_ask_endpoint
from .feedback import FeedbackFile
from .feedback_panel import OPTIONS, build_feedback_panel, wire_feedback
from .header_panel import build_header_panel
from .icons import icon
from .meter_panel import build_meter_panel, meter_html
from .panel import MAX_ANSWERS, PageParts, Panel
from .private_files import PrivatePage
from .settings_panel import build_settings_panel
from .status_panel import build_status_panel
from .texts import text_html

# In the order of their buttons; the settings come last.
PANELS = [
    Panel("tasks", "tasks", tasks_panel.build),
    Panel("looked", "eye", looked_panel.build),
    Panel("html", "html", html_pane.build, wide=True),
    Panel("compare", "compare", compare_panel.build, wide=True),
    Panel("history", "history", history_panel.build),
    Panel("share", "share", share_panel.build),
]


# The conversation's id lives as long as the tab: it survives a reload and is not shared with other tabs. Where storage is
# forbidden (an embedded page), a reload begins a new conversation. `ticket.js` knows whether another tab has the same.
_READ_TICKET = "() => window.minigpt4.readTicket()"
_KEEP_TICKET = "(id) => window.minigpt4.keepTicket(id)"

# See `sending.js` and `draft.js`.
_SEND = "(...values) => window.minigpt4.send(...values)"
_RETURNED = "(box, receipt) => window.minigpt4.returned(box, receipt)"
_HEARD = "(receipt) => window.minigpt4.heard(receipt)"
_PICTURES = "(box) => window.minigpt4.pictures(box)"
_GIVE = "(given, box) => window.minigpt4.give(given, box)"
_GIVE_BACK = "(chat, box) => window.minigpt4.giveBack(chat, box)"
_SHOW_CHAT = "(id) => { window.minigpt4.showChat(); return id }"


def build_page(
    backend: Backend,
    store: ConversationStore,
    examples: Sequence[DemoQuestion] = (),
    limits: Limits | None = None,
    notice: str = "",
    endpoint: bool = False,
    feedback: FeedbackFile | None = None,
    models: Mapping[str, Backend] | None = None,
) -> PrivatePage:
    """The page for `backend`; it is not served yet. `notice` is told to every visitor. With `endpoint` programs may ask, too.

    With `feedback`, visitors can judge answers, and what they say is kept there. `models` are all that can be compared, by their names,
    `backend` first; None if there is no other.
    """
    limits = limits or Limits()
    about = backend.description
    models = models or {about.name: backend}
    examples = offered(examples, about.name)
    with PrivatePage(title=about.title, analytics_enabled=False, fill_height=True) as page:
        conversation, settled = gr.State(None), gr.State("")
        ticket = gr.Textbox(visible="hidden", label="Conversation", elem_id="ticket")
        receipt = gr.Textbox(visible="hidden", label="Receipt", elem_id="receipt")
        given = build_given()
        copied = gr.Checkbox(False, visible="hidden", label="Another tab has this conversation")
        build_header_panel(about, [*((panel.name, panel.icon) for panel in PANELS), ("settings", "settings")])
        if notice:
            gr.HTML(f'<p role="note">{html.escape(notice)}</p>', elem_id="notice")
        with gr.Row(elem_id="columns"):
            with gr.Column(elem_id="main"):
                chat = build_chat(starters(examples), OPTIONS if feedback else None)
                judging = build_feedback_panel() if feedback else None
                status = build_status_panel()
                box = build_box()
                meter = build_meter_panel()
            with gr.Column(elem_id="dock"):
                with _panel_column("settings"):
                    controls = build_settings_panel(about)
                parts = PageParts(
                    backend=backend,
                    models=models,
                    store=store,
                    actions=Actions(backend, store),
                    examples=examples,
                    conversation=conversation,
                    chat=chat,
                    box=box,
                    given=given,
                    status=status,
                    settled=settled,
                    receipt=receipt,
                    controls=controls,
                )
                for panel in PANELS:
                    with _panel_column(panel.name, panel.wide):
                        panel.build(parts)
        # Pressed by the scripts alone.
        empty = gr.Button("", visible="hidden", elem_id="empty")
        busy = gr.Button("", visible="hidden", elem_id="busy")
        new = gr.Button("", visible="hidden", elem_id="new")
        rearrange = gr.Button("", visible="hidden", elem_id="rearrange")
        prepare = gr.Button("", visible="hidden", elem_id="prepare")
        ready = gr.HTML("", elem_id="ready")
        if endpoint:
            add_ask_endpoint(backend)

        _wire_chat(parts)
        empty.click(None, [box], [box, status], js="(box) => window.minigpt4.emptied(box)", **parts.quick)
        busy.click(None, None, [status], js="() => window.minigpt4.busy()", **parts.quick)
        receipt.change(None, [receipt], None, js=_HEARD, **parts.quick)
        given.change(None, [given, box], [given, box], js=_GIVE, **parts.quick)
        new.click(parts.actions.clear, [conversation], parts.shown, js=_SHOW_CHAT, **parts.quick)
        parts.on_settled(lambda now: meter_html(now, about), [], [meter])
        # The pictures in the box are put in another order in the browser alone: `pictures.js`.
        prepare.click(parts.actions.prepare, [box], None, js=_PICTURES, trigger_mode="always_last", **parts.quick)
        rearrange.click(None, [box], [box], js="(box) => window.minigpt4.rearranged(box)")
        if feedback:
            wire_feedback(parts, feedback, judging)
        keep_ticket = {"fn": None, "inputs": [ticket], "outputs": [ticket], "js": _KEEP_TICKET, "api_visibility": "private"}
        conversation.change(lambda conversation_id: conversation_id, [conversation], [ticket], **parts.quick).then(**keep_ticket)
        opened = page.load(parts.actions.come_back, [ticket, copied], parts.shown, js=_READ_TICKET, **parts.quick)
        filled = opened.then(None, [chat, box], [box], js=_GIVE_BACK, **parts.quick)
        filled.then(partial(str, '<span id="app-ready"></span>'), None, ready, **parts.quick)
    page.queue(max_size=limits.max_waiting, api_open=False, default_concurrency_limit=MAX_ANSWERS)
    return page


def _panel_column(name: str, wide: bool = False) -> gr.Column:
    """The column of a panel, with its title and a button to close it."""
    column = gr.Column(elem_id=f"panel-{name}")
    with column:
        close = f'<button type="button" data-panel="{name}">{icon("close")}<span class="unseen">{text_html("panel.close")}</span></button>'
        gr.HTML(f'<h2 tabindex="-1"{" data-wide" if wide else ""}>{text_html("panel." + name)}</h2>{close}', elem_classes="panel-title")
    return column


def _wire_chat(parts: PageParts) -> None:
    """The events of the chat and of the box."""
    actions, chat, box = parts.actions, parts.chat, parts.box
    conversation, controls, answering, quick = parts.conversation, parts.controls, parts.answering, parts.quick

    def retry(conversation_id, event: gr.RetryData, *values):
        yield from actions.retry(conversation_id, event.index, *values)

    def edit(conversation_id, event: gr.EditData, *values):
        yield from actions.edit(conversation_id, event.index, event.value, *values)

    def undo(conversation_id, event: gr.UndoData):
        return actions.undo(conversation_id, event.index)

    def ask_example(conversation_id, event: gr.SelectData, *values):
        yield from actions.ask_example(conversation_id, starters(parts.examples)[event.index], *values)

    sent = box.submit(actions.ask, [conversation, box, *controls], js=_SEND, **answering)
    for ended in (sent.then, sent.failure):
        ended(None, [box, parts.receipt], [box, parts.status], js=_RETURNED, **quick)
    chat.example_select(ask_example, [conversation, *controls], **answering)
    # What is pressed while an answer is written takes that one's place.
    chat.retry(retry, [conversation, *controls], trigger_mode="multiple", **answering)
    chat.edit(edit, [conversation, *controls], trigger_mode="multiple", **answering)
    chat.undo(undo, [conversation], parts.shown, **quick)
    box.stop(actions.stop, [conversation], None, **quick)
