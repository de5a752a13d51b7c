"""History: this browser's conversations, in its own database (`history.js`). The server keeps nothing of them.

Whenever the conversation is at rest, the browser is given it as a document with small pictures, to keep. A document comes back only
when a person opens it: then it is read as any file from anybody would be, and becomes the conversation of this tab.
"""

import json
import re

import gradio as gr

from .actions import Shown
from .chat_panel import box_idle
from .conversation import Conversation
from .panel import PageParts
from .restoring import restore
from .status_panel import status_html
from .texts import language_of, text_html
from .told import tell
from .transcribing import HISTORY_SIDE, transcribe
from .transcript import TranscriptError, read_transcript, write_transcript

_RECORD_ID = re.compile(r"[\w-]{8,64}")


def build(page: PageParts) -> None:
    gr.HTML(_panel_html(), elem_id="history")
    record = gr.Textbox("", visible="hidden", label="This conversation, for the browser to keep")
    chosen = gr.Textbox("", visible="hidden", label="A conversation that the browser kept")
    opener = gr.Button("Open", visible="hidden", elem_id="history-open")

    def make_record(conversation: Conversation) -> str:
        return record_of(conversation, page.backend.description.title)

    def open_chosen(conversation_id, document, request: gr.Request):
        return open_record(page, conversation_id, document, request)

    kept = page.on_settled(make_record, [], [record])
    kept.then(None, [record], None, js="(record) => { window.minigpt4History?.save(record) }", api_visibility="private")
    opener.click(
        open_chosen,
        [page.conversation, chosen],
        page.shown,
        js="(conversation, _) => [conversation, window.minigpt4History?.take() ?? '']",
        **page.quick,
    )


def record_of(conversation: Conversation, model: str) -> str:
    """What the browser keeps of a conversation: `{"id", "document"}` as JSON, nothing of one that is empty or still being answered."""
    if not conversation.exchanges or conversation.busy:
        return ""
    document = write_transcript(transcribe(conversation, model, HISTORY_SIDE))
    return f'{{"id": {json.dumps(conversation.record_id)}, "document": {document}}}'


def open_record(page: PageParts, conversation_id: str | None, record: str, request: gr.Request | None = None) -> Shown:
    """Make what the browser kept the conversation of this tab. What cannot be read is told, and the open conversation stays."""
    try:
        record_id, document = _read_record(record)
        conversation = restore(read_transcript(document), page.store, page.backend.description, record_id)
    except TranscriptError as refusal:
        return Shown(status=status_html(tell(language_of(request), str(refusal)), warning=True))
    page.actions.stop(conversation_id)
    return page.actions.come_back(conversation.id, request=request)._replace(box=box_idle())


def _read_record(record: str) -> tuple[str, str]:
    try:
        given = json.loads(record)
        record_id, document = given["id"], given["document"]
    except (ValueError, RecursionError, KeyError, TypeError) as fault:
        raise TranscriptError("This conversation could not be read from the browser's history.") from fault
    if not (isinstance(record_id, str) and isinstance(document, str) and _RECORD_ID.fullmatch(record_id)):
        raise TranscriptError("This conversation could not be read from the browser's history.")
    return record_id, document


def _panel_html() -> str:
    return f"""<p class="explained">{text_html("history.about")}</p>
<label class="switch"><input type="checkbox" id="history-keep"> {text_html("history.keep")}</label>
<input type="search" id="history-search">
<p role="status" id="history-note"></p>
<ul id="history-list"></ul>
<p id="history-empty"></p>
<button type="button" id="history-clear">{text_html("history.clear")}</button>"""
