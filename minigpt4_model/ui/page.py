"""The page: its panels in order, and which event starts which action."""

from collections.abc import Sequence
from functools import partial

import gradio as gr

from ..chat.backends.base import Backend
from .actions import Actions
from .chat_panel import build_box, build_chat
from .conversation import ConversationStore
from .demo_questions import DemoQuestion
from .header_panel import build_header_panel
from .settings_panel import build_settings_panel
from .status_panel import build_status_panel

# Answers written at the same time; a backend that computes one at a time lets the others wait.
MAX_ANSWERS = 16
MAX_WAITING = 64
HOUR = 3600

# The conversation's id lives as long as the tab: it survives a reload and is not shared with other tabs. Where storage is
# forbidden (an embedded page), a reload begins a new conversation.
_READ_TICKET = "() => { try { return sessionStorage.getItem('minigpt4-conversation') || '' } catch { return '' } }"
_KEEP_TICKET = "(id) => { try { sessionStorage.setItem('minigpt4-conversation', id) } catch {} return id }"


def build_page(backend: Backend, store: ConversationStore, examples: Sequence[DemoQuestion] = ()) -> gr.Blocks:
    """The page for `backend`; it is not served yet."""
    actions = Actions(backend, store)
    about = backend.description
    with gr.Blocks(title=about.title, analytics_enabled=False, fill_height=True, delete_cache=(HOUR, 24 * HOUR)) as page:
        conversation = gr.State(None)
        ticket = gr.Textbox(visible="hidden", label="Conversation", elem_id="ticket")
        controls = build_settings_panel(about.settings)
        build_header_panel(about)
        chat = build_chat(examples)
        status = build_status_panel()
        box = build_box()
        ready = gr.HTML("", elem_id="ready")

        shown = [conversation, chat, box, status]
        quick = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
        answering = {
            "outputs": shown,
            "api_visibility": "private",
            "show_progress": "minimal",
            "show_progress_on": chat,
            "concurrency_limit": MAX_ANSWERS,
            "concurrency_id": "answer",
        }

        def retry(conversation_id, event: gr.RetryData, *values):
            yield from actions.retry(conversation_id, event.index, *values)

        def edit(conversation_id, event: gr.EditData, *values):
            yield from actions.edit(conversation_id, event.index, event.value, *values)

        def undo(conversation_id, event: gr.UndoData):
            return actions.undo(conversation_id, event.index)

        def ask_example(conversation_id, event: gr.SelectData, *values):
            yield from actions.ask_example(conversation_id, examples[event.index], *values)

        box.submit(actions.ask, [conversation, box, *controls], **answering)
        chat.example_select(ask_example, [conversation, *controls], **answering)
        chat.retry(retry, [conversation, *controls], **answering)
        chat.edit(edit, [conversation, *controls], **answering)
        chat.undo(undo, [conversation], shown, **quick)
        chat.clear(actions.clear, [conversation], shown, **quick)
        box.stop(actions.stop, [conversation], None, **quick)

        keep_ticket = {"fn": None, "inputs": [ticket], "outputs": [ticket], "js": _KEEP_TICKET, "api_visibility": "private"}
        conversation.change(lambda conversation_id: conversation_id, [conversation], [ticket], **quick).then(**keep_ticket)
        opened = page.load(actions.come_back, [ticket], shown, js=_READ_TICKET, **quick)
        opened.then(partial(str, '<span id="app-ready"></span>'), None, ready, **quick)
    page.queue(max_size=MAX_WAITING, api_open=False, default_concurrency_limit=MAX_ANSWERS)
    return page
