"""A conversation as a document: what is exported as JSON, what a browser keeps as its history, and what is read back from both.

    {"format": "minigpt4-conversation", "version": 1, "title": str, "model": str, "saved": ISO time,
     "messages": [{"role": "user", "content": [{"type": "image", "image": data URL, "name", "width", "height"}, {"type": "text", "text"}]},
                  {"role": "assistant", "content": [{"type": "text", "text"}], "state", "note", "settings": {field: value}}, ...]}

The messages are those of `chat.messages` with a few more keys. Whatever is read may have been written by anybody: it is checked
down to its types and sizes, and refused with a sentence. Pictures are only decoded from base64 here; who opens them uses
`chat.pictures`, which checks them as it checks uploads. Knows nothing of Gradio and of where conversations are kept.
"""

import base64
import binascii
import dataclasses
import json
from dataclasses import dataclass

from ..chat.settings import GenerationSettings, SettingsError
from .conversation import FAILED, FINISHED, STOPPED

FORMAT = "minigpt4-conversation"
VERSION = 1

MAX_DOCUMENT_CHARACTERS = 40_000_000
MAX_EXCHANGES = 500
MAX_TEXT_CHARACTERS = 100_000
MAX_NAME_CHARACTERS = 100
PICTURE_TYPES = ("image/webp", "image/png", "image/jpeg")


class TranscriptError(ValueError):
    """The document is no conversation that can be opened; the text says what is wrong with it."""


@dataclass(frozen=True)
class TranscriptPicture:
    """A picture file of one of `PICTURE_TYPES`; `width` and `height` are those of the picture as it was shown to the model."""

    name: str
    width: int
    height: int
    media_type: str
    data: bytes = dataclasses.field(repr=False)

    @property
    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class TranscriptExchange:
    """A question, its pictures, and its answer as it ended. `settings` holds the seed that the answer was made with."""

    question: str
    pictures: tuple[TranscriptPicture, ...] = ()
    answer: str = ""
    state: str = FINISHED
    note: str = ""
    settings: GenerationSettings | None = None


@dataclass(frozen=True)
class Transcript:
    """`model` names who answered, `saved` is a time in ISO 8601."""

    title: str
    model: str
    saved: str
    exchanges: tuple[TranscriptExchange, ...]


def write_transcript(transcript: Transcript) -> str:
    """The document of `transcript`; `read_transcript` is the way back."""
    messages = []
    for exchange in transcript.exchanges:
        pictures = [
            {"type": "image", "image": picture.data_url, "name": picture.name, "width": picture.width, "height": picture.height}
            for picture in exchange.pictures
        ]
        messages.append({"role": "user", "content": [*pictures, _text_part(exchange.question)]})
        answer = {"role": "assistant", "content": [_text_part(exchange.answer)], "state": exchange.state, "note": exchange.note}
        if exchange.settings is not None:
            answer["settings"] = dataclasses.asdict(exchange.settings)
        messages.append(answer)
    document = {"format": FORMAT, "version": VERSION, "title": transcript.title, "model": transcript.model, "saved": transcript.saved}
    return json.dumps({**document, "messages": messages}, ensure_ascii=False, indent=1)


def read_transcript(document: str) -> Transcript:
    """The conversation in `document`. Raises `TranscriptError`."""
    if len(document) > MAX_DOCUMENT_CHARACTERS:
        raise TranscriptError(f"The file is larger than {MAX_DOCUMENT_CHARACTERS // 1_000_000} MB: no conversation of this page is.")
    try:
        content = json.loads(document.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as fault:  # RecursionError: brackets nested thousands deep
        raise TranscriptError("The file is not JSON. Choose one that was exported here as JSON.") from fault
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TranscriptError("The file is JSON, but not a conversation that was exported here.")
    if content.get("version") != VERSION:
        raise TranscriptError(
            f"The file is of version {str(content.get('version'))[:20]} of its format; this page reads version {VERSION}."
        )
    messages = _typed(content, "messages", list, "the file")
    if len(messages) % 2 or len(messages) > 2 * MAX_EXCHANGES:
        raise TranscriptError(f"The file must hold questions with their answers, at most {MAX_EXCHANGES}; it has {len(messages)} messages.")
    exchanges = [_read_exchange(*messages[number : number + 2], number) for number in range(0, len(messages), 2)]
    told = {key: _text(_typed(content, key, str, "the file"))[:MAX_NAME_CHARACTERS] for key in ("title", "model", "saved")}
    return Transcript(told["title"], told["model"], told["saved"], tuple(exchanges))


def title_of(exchanges) -> str:
    """What a conversation is called until a person renames it: its first question, in one line."""
    first = next((exchange.question for exchange in exchanges), "")
    line = " ".join(first.split())
    return line if len(line) <= 60 else line[:59].rstrip() + "…"


def _text_part(text: str) -> dict:
    return {"type": "text", "text": text}


def _read_exchange(asked, answered, number: int) -> TranscriptExchange:
    where, there = f"message {number + 1}", f"message {number + 2}"
    if not (isinstance(asked, dict) and isinstance(answered, dict) and (asked.get("role"), answered.get("role")) == ("user", "assistant")):
        raise TranscriptError(f"In the file, {where} must be a question and {there} its answer.")
    *pictures, question = _typed(asked, "content", list, where) or [None]
    answer = _typed(answered, "content", list, there)
    state = answered.get("state")
    if state not in (FINISHED, STOPPED, FAILED):
        raise TranscriptError(f"In the file, “state” of {there} must be {FINISHED}, {STOPPED} or {FAILED}.")
    return TranscriptExchange(
        question=_read_text(question, where),
        pictures=tuple(_read_picture(picture, where) for picture in pictures),
        answer=_read_text(answer[0] if len(answer) == 1 else None, there),
        state=state,
        note=_text(_typed(answered, "note", str, there))[:MAX_TEXT_CHARACTERS],
        settings=_read_settings(answered.get("settings"), there),
    )


def _read_text(part, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise TranscriptError(f"In the file, {where} must end with its text.")
    text = _text(_typed(part, "text", str, where))
    if len(text) > MAX_TEXT_CHARACTERS:
        raise TranscriptError(f"In the file, {where} has {len(text):,} characters; at most {MAX_TEXT_CHARACTERS:,} are taken.")
    return text


def _read_picture(part, where: str) -> TranscriptPicture:
    if not isinstance(part, dict) or part.get("type") != "image":
        raise TranscriptError(f"In the file, {where} may hold pictures and, at its end, its text; it holds something else.")
    media_type, separator, encoded = _typed(part, "image", str, where).removeprefix("data:").partition(";base64,")
    if not separator or media_type not in PICTURE_TYPES:
        raise TranscriptError(f"In the file, a picture of {where} is not a data URL of {', '.join(PICTURE_TYPES)}.")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise TranscriptError(f"In the file, a picture of {where} is damaged.") from fault
    width, height = (_typed(part, key, int, where) for key in ("width", "height"))
    if not (0 < width < 10**6 and 0 < height < 10**6):
        raise TranscriptError(f"In the file, a picture of {where} has no possible size.")
    return TranscriptPicture(_text(_typed(part, "name", str, where))[:MAX_NAME_CHARACTERS], width, height, media_type, data)


def _read_settings(given, where: str) -> GenerationSettings | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise TranscriptError(f"In the file, “settings” of {where} must be an object.")
    try:
        return GenerationSettings.from_mapping(given)
    except SettingsError as fault:
        raise TranscriptError(f"In the file, the settings of {where}: {fault}") from fault


def _typed(holder: dict, key: str, kind: type, where: str):
    value = holder.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TranscriptError(f"In the file, “{key}” of {where} is missing or of the wrong kind.")
    return value


def _text(text: str) -> str:
    """`text` without halves of surrogate pairs, which JSON can carry and nothing can show: each becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
