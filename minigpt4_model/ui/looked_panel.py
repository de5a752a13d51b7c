"""The panel that looks back at an answer: where on the picture a word came from, how likely it was, and what was said from habit.

All it shows is in one JSON value, which `looked.js` draws; a click on a word comes back for that word's weights. Knows the optional
ability of a backend (`chat.inspection`), and says so where the backend has it not.
"""

import base64
import io
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import PIL.Image

from ..chat.backends.base import BackendError, TokenLogprob
from ..chat.crops import crop
from ..chat.inspection import Inspection, PictureReading, inspecting
from ..chat.messages import MessageError
from ..chat.pictures import PictureError
from ..chat.settings import SettingsError
from .conversation import WAITING, Conversation, Exchange
from .panel import LOOK, PageParts
from .stored_pictures import StoredPicture
from .texts import label, language_of, load_texts, say
from .told import tell

SCRIPT = Path(__file__).with_name("looked.js")
PICTURE_SIDE = 480
LONGEST_LABEL = 60


@dataclass(frozen=True)
class LookedAt:
    """What a visitor's clicks are about: an answer, the conversation up to it, and what was found out."""

    messages: list[dict]
    exchange: Exchange
    inspection: Inspection


def build(page: PageParts) -> None:
    backend = inspecting(page.backend)
    gr.HTML(f"<p>{label('looked.about' if backend else 'looked.cannot')}</p>", elem_classes="note")
    if backend is None:
        return
    looked_at = gr.State(None)
    which = gr.Dropdown([], label=label("looked.which"), elem_id="looked-which", interactive=True)
    look = gr.Button(label("looked.look"), variant="primary", elem_id="looked-look", interactive=False)
    view = gr.HTML(None, html_template='<div class="looked"></div>', js_on_load=SCRIPT.read_text(encoding="utf-8"), elem_id="looked-view")
    weights = gr.JSON(visible=False)

    def offer(conversation: Conversation):
        answered = answered_exchanges(conversation)
        choices = [(f"{number + 1}: {shorten(exchange.question)}", number) for number, exchange in answered]
        return gr.Dropdown(choices=choices, value=choices[-1][1] if choices else None), gr.Button(interactive=bool(choices)), None, None

    def look_back(conversation_id: str | None, number: int | None, request: gr.Request):
        language = language_of(request)
        found = dict(answered_exchanges(page.find(conversation_id)))
        if number not in found:
            return None, {"fault": say(language, "looked.gone")}
        messages = Conversation(page.find(conversation_id).exchanges[: number + 1]).messages()
        try:
            inspection = backend.inspect(messages, found[number].answer, *_how(found[number]))
        except (BackendError, MessageError, PictureError, SettingsError) as fault:
            return None, {"fault": tell(language, str(fault))}
        kept = LookedAt(messages, found[number], inspection)
        return kept, view_of(inspection, page.find(conversation_id).pictures, language)

    def weigh(kept: LookedAt | None, event: gr.EventData, request: gr.Request):
        first, end = int(event.first), int(event.end)
        reply = {"first": first, "time": time.monotonic_ns()}  # an equal value would be no news to the page
        if kept is None:
            return {**reply, "fault": say(language_of(request), "looked.gone")}
        try:
            ids, settings = _how(kept.exchange)
            found = backend.weigh(kept.messages, kept.exchange.answer, first, end, ids, settings)
        except (BackendError, MessageError, PictureError, SettingsError, IndexError) as fault:
            return {**reply, "fault": tell(language_of(request), str(fault))}
        return {**reply, "pictures": [[round(weight, 5) for weight in row] for row in found.pictures]}

    page.on_settled(offer, [], [which, look, looked_at, view])
    wired = {**page.quick, "concurrency_limit": 2, "concurrency_id": LOOK}
    look.click(look_back, [page.conversation, which], [looked_at, view], **{**wired, "show_progress": "minimal"})
    view.select(weigh, [looked_at], [weights], **wired)
    weights.change(None, [weights], None, js="(found) => document.dispatchEvent(new CustomEvent('weighed', {detail: found}))", **page.quick)


def answered_exchanges(conversation: Conversation) -> list[tuple[int, Exchange]]:
    """The exchanges with an answer that is no longer being written, with their numbers."""
    return [(number, one) for number, one in enumerate(conversation.exchanges) if one.answer and one.state != WAITING]


def view_of(inspection: Inspection, pictures: tuple[StoredPicture, ...], language: str) -> dict[str, Any]:
    """What `looked.js` draws, as JSON: plain texts and numbers, and the pictures as addresses that hold them."""
    texts = {key.removeprefix("looked."): text for key, text in load_texts()["en"].items() if key.startswith("looked.")}
    texts = {key: say(language, f"looked.{key}", **{name: f"{{{name}}}" for name in _PLACES}) for key in texts}
    named = {picture.loaded.digest: picture for picture in pictures}
    return {
        "texts": texts,
        "without": inspection.without,
        "words": [
            {"text": word.text, "first": word.first, "end": word.end, "habit": word.said_blind and word.names_something}
            for word in inspection.words
        ],
        "tokens": [
            {
                "text": token.text,
                "seen": _share(token.seen),
                "blind": None if token.blind is None else _share(token.blind),
                "top": [_choice(other) for other in token.seen.top],
                "blindTop": [] if token.blind is None else [_choice(other) for other in token.blind.top[:3]],
            }
            for token in inspection.tokens
        ],
        "pictures": [
            {"index": index, **_picture(reading, named[reading.digest])}
            for index, reading in enumerate(inspection.pictures)
            if reading.digest in named
        ],
    }


_PLACES = ("word", "probability", "number", "share", "rows", "columns", "blind")


def _picture(reading: PictureReading, stored: StoredPicture) -> dict[str, Any]:
    image = crop(stored.loaded.image, reading.part) if reading.part else stored.loaded.image.copy()
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))

    def rounded(maps: tuple[tuple[float, ...], ...]) -> list[list[float]]:
        return [[round(share, 4) for share in row] for row in maps]

    return {
        "address": _address(image),
        "part": reading.part,
        "rows": reading.rows,
        "columns": reading.columns,
        "attention": rounded(reading.attention),
        "passedOn": rounded(reading.passed_on),
        "elsewhere": round(sum(reading.elsewhere) / max(1, len(reading.elsewhere)), 3),
        "reads": reading.reads,
    }


def _address(image: PIL.Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=85, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _how(exchange: Exchange):
    """The answer's tokens and settings, as the backend's abilities take them."""
    return (exchange.details.token_ids if exchange.details else [], exchange.settings)


def _share(token: TokenLogprob) -> float:
    return round(math.exp(token.logprob), 5)


def _choice(token: TokenLogprob) -> list:
    return [token.data.decode(errors="replace"), _share(token)]


def shorten(question: str) -> str:
    words = " ".join(question.split())
    return words if len(words) <= LONGEST_LABEL else words[: LONGEST_LABEL - 1] + "…"
