"""Share: the open conversation as a file, a file opened again, and the last answer as a link or as code.

Files are made when asked for and handed to the browser, which writes them: none lies on the server.
"""

import json
import re
from functools import cache
from pathlib import Path

import gradio as gr

from ..chat.pictures import load_picture
from .actions import Shown
from .answer_link import AnswerLink, LinkError, read_link, write_link
from .chat_panel import box_idle, given
from .conversation import Conversation
from .panel import PageParts
from .restoring import restore
from .settings_panel import controls_from_settings
from .snippets import AskedTurn, curl_snippet, python_snippet
from .status_panel import status_html
from .stored_pictures import StoredPicture
from .texts import ENGLISH, label, language_of, say, text_html
from .told import tell
from .transcribing import transcribe
from .transcript import TranscriptError, read_transcript, write_transcript
from .transcript_pages import render_html, render_markdown

_KINDS = {"markdown": ("md", render_markdown), "json": ("json", write_transcript), "html": ("html", render_html)}


def build(page: PageParts) -> None:
    gr.HTML(f"<h3>{text_html('share.file')}</h3>")
    file = gr.Textbox("", visible="hidden", label="A file for the browser to write")
    with gr.Row(elem_classes="share-files"):
        for kind in _KINDS:
            button = gr.Button(label("share." + kind), elem_id=f"export-{kind}", size="sm")
            made = button.click(_exporter(page, kind), [page.conversation], [file, page.status], **page.quick)
            made.then(None, [file], [file], js="(file) => window.minigpt4Share.write(file)", api_visibility="private")

    def import_chosen(conversation_id, document, request: gr.Request):
        return import_file(page, conversation_id, document, request)

    taken = gr.Textbox("", visible="hidden", label="A file that was chosen")
    chooser = gr.Button(label("share.import"), elem_id="import", size="sm")
    chooser.click(
        import_chosen,
        [page.conversation, taken],
        page.shown,
        js="async (conversation, _) => [conversation, await window.minigpt4Share.read()]",
        **page.quick,
    )
    gr.HTML(f"<h3>{text_html('share.answer')}</h3>")
    about_link = gr.HTML("", elem_id="share-note")
    link = gr.Textbox("", label=label("share.link"), interactive=False, max_lines=2, buttons=["copy"], elem_id="share-link")
    code = {"interactive": False, "lines": 6, "max_lines": 14, "buttons": ["copy"], "elem_classes": "share-code"}
    python = gr.Textbox("", label="Python", elem_id="share-python", **code)
    curl = gr.Textbox("", label="curl", elem_id="share-curl", **code)
    address = gr.Textbox("", visible="hidden", label="The page's address")
    page.settled.change(
        lambda conversation_id, address: describe_answer(page, page.find(conversation_id), address),
        [page.conversation, address],
        [about_link, link, python, curl],
        js="(conversation, _) => [conversation, location.href.split('#')[0]]",
        **page.quick,
    )

    def open_chosen(fragment, request: gr.Request):
        return open_link(page, fragment, language_of(request))

    fragment = gr.Textbox("", visible="hidden", label="The link that was opened")
    opener = gr.Button("Open the link", visible="hidden", elem_id="link-open")
    opener.click(
        open_chosen,
        [fragment],
        [page.given, page.status, *page.controls],
        js="(_) => window.minigpt4Share.takeLink()",
        **page.quick,
    )


def _exporter(page: PageParts, kind: str):
    suffix, write = _KINDS[kind]

    def export(conversation_id, request: gr.Request):
        conversation = page.find(conversation_id)
        if not conversation.exchanges:
            return "", status_html(say(language_of(request), "share.empty"), warning=True)
        transcript = transcribe(conversation, page.backend.description.title)
        return json.dumps({"name": f"{file_name(transcript.title)}.{suffix}", "content": write(transcript)}), gr.skip()

    return export


def file_name(title: str) -> str:
    """A file name without its ending for a conversation, possible on every system."""
    return re.sub(r"[^\w -]", "", title)[:60].strip(" -") or "conversation"


def import_file(page: PageParts, conversation_id: str | None, document: str, request: gr.Request | None = None) -> Shown:
    """Make the conversation in a file the one of this tab. A file that is none is told, and the open conversation stays."""
    if not document:  # no file was chosen
        return Shown()
    try:
        conversation = restore(read_transcript(document), page.store, page.backend.description)
    except TranscriptError as refusal:
        return Shown(status=status_html(tell(language_of(request), str(refusal)), warning=True))
    page.actions.stop(conversation_id)
    return page.actions.come_back(conversation.id, request=request)._replace(box=box_idle())


def describe_answer(page: PageParts, conversation: Conversation, address: str):
    """The last answer as a note, a link, Python and curl; empty while there is none."""
    last = conversation.exchanges[-1] if conversation.exchanges else None
    if last is None or last.settings is None or conversation.busy:
        return f"<p>{text_html('share.nothing')}</p>", "", "", ""
    names = [example.name for picture in last.pictures if (example := _example_of(page, picture))]
    other = len(last.pictures) - len(names)
    earlier = len(conversation.exchanges) - 1
    link = AnswerLink(page.model_name, last.question, last.settings, tuple(names), other, earlier)
    turns = [AskedTurn(e.question, tuple(picture.path.name for picture in e.pictures), e.answer) for e in conversation.exchanges]
    note = "share.complete" if not other and not earlier else "share.incomplete"
    return (
        f"<p>{text_html(note)}</p>",
        f"{address}#{write_link(link)}",
        python_snippet(page.model_name, turns, last.settings),
        curl_snippet(address, page.model_name, turns, last.settings),
    )


def open_link(page: PageParts, fragment: str, language: str = ENGLISH) -> list:
    """A link's question for the box, and its settings: new values for what is given, the status line and the controls."""
    unchanged = [gr.skip()] * len(page.controls)
    examples = {example.picture.name: example.picture for example in page.examples}
    try:
        link = read_link(fragment, list(examples))
    except LinkError as refusal:
        return [gr.skip(), status_html(tell(language, str(refusal)), warning=True), *unchanged]
    if link is None:
        return [gr.skip(), gr.skip(), *unchanged]
    notes = [say(language, "share.opened")]
    if link.model != page.model_name:
        notes.append(say(language, "share.other_model", theirs=link.model, ours=page.model_name))
    if link.other_pictures:
        notes.append(say(language, "share.pictures", count=link.other_pictures))
    if link.earlier:
        notes.append(say(language, "share.earlier", count=link.earlier))
    question = given(link.question, [str(examples[name]) for name in link.examples])
    settings = link.settings.no_longer_than(page.backend.description.longest_answer)
    return [question, status_html(" ".join(notes)), *controls_from_settings(settings)]


def _example_of(page: PageParts, picture: StoredPicture) -> Path | None:
    """The example that `picture` is, if it is one: by its pixels."""
    same_name = (example.picture for example in page.examples if example.picture.stem == picture.path.stem)
    return next((path for path in same_name if _digest(path) == picture.loaded.digest), None)


@cache
def _digest(path: Path) -> str:
    return load_picture(path).digest
