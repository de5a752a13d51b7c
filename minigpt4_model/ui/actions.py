"""What a visitor can do: ask, stop, retry, edit, undo, clear, come back. Each action yields or returns a `Shown`.

Knows the backend's interface and the conversation store; where things are on the page is `page`'s business. No action takes
history from the browser. Faults that a person can mend become the status line's sentence, never a page error.
"""

import contextlib
import dataclasses
import logging
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import gradio as gr
from gradio.context import LocalContext

from ..chat.backends.base import Answer, AnswerStream, Backend, BackendError
from ..chat.messages import MessageError
from ..chat.pictures import PictureError, load_picture
from ..chat.settings import GenerationSettings, SettingsError
from .chat_panel import box_answering, box_idle, given, receipt
from .conversation import FAILED, FINISHED, STOPPED, Conversation, ConversationBusy, ConversationExpired, ConversationStore, Run
from .demo_questions import DemoQuestion
from .html_as_text import undefuse
from .pacing import paced
from .settings_panel import settings_from_controls
from .status_panel import status_html
from .stored_pictures import StoredPicture
from .texts import language_of, say
from .told import tell
from .view import chat_messages, message_positions, report
from .waiting_line import Place, WaitingLine

logger = logging.getLogger(__name__)

MAX_QUESTION_CHARACTERS = 20_000
MAX_PICTURES_PER_QUESTION = 10

# Uploads that were opened before they were sent, as file names.
MAX_PREPARED = 256
# Answers written at a time; who comes later waits in line and sees it.
ANSWERS_AT_ONCE = 8
# Seconds between two looks at the line.
LINE_BEAT_S = 0.3


class Shown(NamedTuple):
    """New values for the page's parts, in the order in which `page` wires them; a part that is skipped stays as it is."""

    conversation_id: Any = gr.skip()
    chat: Any = gr.skip()
    box: Any = gr.skip()
    status: Any = gr.skip()
    settled: Any = gr.skip()
    receipt: Any = gr.skip()
    given: Any = gr.skip()


class Refused(Exception):
    """The question is not asked; the text says why, `files` are the uploads that were fine."""

    def __init__(self, reason: str, files: Sequence[str] = ()):
        super().__init__(reason)
        self.files = list(files)


class Actions:
    """The actions on one backend and one store. Several visitors use them at the same time."""

    def __init__(self, backend: Backend, store: ConversationStore, at_once: int = ANSWERS_AT_ONCE):
        self._backend = backend
        self._store = store
        self._line = WaitingLine(at_once)
        self._prepared: OrderedDict[str, StoredPicture] = OrderedDict()

    def come_back(self, ticket: str | None, copied: bool = False, request: gr.Request | None = None) -> Shown:
        """When the page opens: the conversation that this tab had before a reload, or a new one, in the visitor's language.

        `copied` says that the tab is a duplicate of one that is still open.
        """
        language = language_of(request)
        try:
            conversation, note = self._store.resume(ticket, copied), ""
        except ConversationExpired:
            conversation, note = self._store.open(), say(language, "status.expired") if ticket else ""
        conversation.language = language
        exchanges = conversation.exchanges
        note = note or (exchanges[-1].note if exchanges else "")
        return Shown(conversation.id, chat_messages(exchanges, language), box_idle(), status_html(note), _settled())

    def ask(self, conversation_id: str | None, typed: dict, *controls) -> Iterator[Shown]:
        """Ask what was sent from the box. If a picture is refused nothing is asked: the text and the other pictures come back."""
        yield from self._ask(conversation_id, typed, controls, from_box=True)

    def ask_aside(self, conversation_id: str | None, text: str, files: Sequence[str], *controls) -> Iterator[Shown]:
        """Ask what does not come from the box: what is being written there stays. A question that is refused goes in front of it."""
        yield from self._ask(conversation_id, {"text": text, "files": list(files)}, controls, from_box=False)
        yield Shown()  # Gradio shows the last values again when an action ends, and would give the question twice

    def _ask(self, conversation_id: str | None, typed: dict, controls: Sequence, from_box: bool) -> Iterator[Shown]:
        def back(files: Sequence[str]) -> dict[str, Any]:
            """What makes the question, with those of its pictures, come back into the box."""
            if from_box:
                return {"receipt": receipt([at for at, file in enumerate(typed["files"]) if file in files])}
            return {"given": given(typed["text"], files)}

        conversation = self._find(conversation_id)
        if conversation is None:
            # After a restart the uploads of the earlier run are gone.
            files = [file for file in typed["files"] if os.path.exists(file)]
            yield self._begin_anew()._replace(**back(files))
            return
        if conversation.busy:
            yield _busy(conversation)._replace(**back(typed["files"]))
            return
        try:
            settings = settings_from_controls(controls)
            pictures = self._take_pictures(conversation, typed["files"])
            question = self._take_question(conversation, typed["text"], len(pictures), typed["files"])
        except (Refused, SettingsError) as refusal:
            files = refusal.files if isinstance(refusal, Refused) else typed["files"]
            why = status_html(tell(conversation.language, str(refusal)), warning=True)
            yield Shown(box=box_idle(), status=why)._replace(**back(files))
            return
        try:
            run = conversation.ask(question, pictures)
        except ConversationBusy:  # another question came while the pictures were opened
            yield _busy(conversation)._replace(**back(typed["files"]))
            return
        yield from self._write(conversation, run, settings, from_box=from_box)

    def prepare(self, typed: dict) -> None:
        """Open, store and, where the backend can, read the pictures in the box while the visitor is still writing.

        What is wrong with one is told when it is sent.
        """
        read = getattr(self._backend, "prepare_picture", None)
        for file in typed["files"][:MAX_PICTURES_PER_QUESTION]:
            if file in self._prepared:
                continue
            with contextlib.suppress(PictureError, BackendError):
                picture = self._prepared[file] = self._open_picture(file)
                while len(self._prepared) > MAX_PREPARED:
                    self._prepared.popitem(last=False)
                if read is not None:
                    read(picture.loaded)

    def ask_example(self, conversation_id: str | None, example: DemoQuestion, *controls) -> Iterator[Shown]:
        yield from self.ask_aside(conversation_id, example.question, [str(example.picture)], *controls)

    def retry(self, conversation_id: str | None, message: int, *controls) -> Iterator[Shown]:
        """Answer the question of chat message `message` again, with a new seed."""
        seed = secrets.randbelow(2**31)
        yield from self._ask_again(conversation_id, message, None, controls, seed)

    def edit(self, conversation_id: str | None, message: int, text: str, *controls) -> Iterator[Shown]:
        """Ask the question of chat message `message` in other words; its pictures stay, what followed is dropped."""
        yield from self._ask_again(conversation_id, message, text, controls)

    def undo(self, conversation_id: str | None, message: int) -> Shown:
        """Take the question of chat message `message` back into the box, with its pictures."""
        conversation = self._find(conversation_id)
        if conversation is None:
            return self._begin_anew()
        position = self._position(conversation, message)
        if position is None:
            return self._show(conversation, box=box_idle(), note=say(conversation.language, "status.gone"))
        asked = conversation.take_back(position)
        taken = given(asked.question, [str(picture.path) for picture in asked.pictures])
        return self._show(conversation, box=box_idle())._replace(given=taken)

    def clear(self, conversation_id: str | None) -> Shown:
        conversation = self._find(conversation_id)
        if conversation is None:
            return self._begin_anew()
        conversation.clear()
        return self._show(conversation, box=box_idle())

    def stop(self, conversation_id: str | None) -> None:
        """Stop the answer; the action that writes it shows what there is of it."""
        conversation = self._find(conversation_id)
        if conversation is not None:
            conversation.stop()

    def _ask_again(self, conversation_id, message: int, text: str | None, controls, seed: int | None = None) -> Iterator[Shown]:
        conversation = self._find(conversation_id)
        if conversation is None:
            yield self._begin_anew()
            return
        position = self._position(conversation, message)
        if position is None:
            yield self._show(conversation, box=box_idle(), note=say(conversation.language, "status.gone"))
            return
        try:
            settings = settings_from_controls(controls)
            if text is not None:
                text = self._take_question(conversation, text, len(conversation.exchanges[position].pictures))
        except (Refused, SettingsError) as refusal:
            yield self._show(conversation, box=box_idle(), note=tell(conversation.language, str(refusal)))
            return
        notices = []
        if seed is not None:
            settings = dataclasses.replace(settings, seed=seed)
            if settings.greedy:
                notices.append(say(conversation.language, "status.greedy"))
        yield from self._write(conversation, conversation.ask_again(position, text), settings, notices)

    def _write(
        self,
        conversation: Conversation,
        run: Run,
        settings: GenerationSettings,
        notices: Sequence[str] = (),
        from_box: bool = False,
    ) -> Iterator[Shown]:
        """Write the last answer as it comes, until its end, Stop, a fault or the visitor's leaving."""
        asked = conversation.exchanges[-1:]  # none, if the conversation was cleared meanwhile
        pictures = [picture for exchange in asked for picture in exchange.pictures]
        if settings.seed is None:
            settings = dataclasses.replace(settings, seed=secrets.randbelow(2**31))  # so that the answer can be had again
        run.prepare(settings)
        notices = [*notices, *dict.fromkeys(tell(conversation.language, picture.notice) for picture in pictures if picture.notice)]
        stream, shown, told = None, "", _joined(notices)
        try:
            begun = self._show(conversation, box=box_answering(), note=told, warning=False)
            yield begun._replace(receipt=receipt()) if from_box else begun
            with self._line.join() as place:
                while place.ahead and run.current and not run.stopped:
                    told = _waiting(place, conversation.language)
                    yield Shown(status=status_html(told))
                    time.sleep(LINE_BEAT_S)
                stream = self._backend.stream(conversation.messages(), settings)
                run.attach(stream)
                for text in paced(stream, lambda: run.stopped):
                    if not run.current:  # something else was begun meanwhile
                        break
                    if text == shown:
                        yield Shown()
                        continue
                    shown = text
                    note = _joined([*notices, *(tell(conversation.language, notice) for notice in stream.answer.notices)])
                    run.write(text, note=note)
                    step = self._show(conversation, note=note, warning=False)
                    # What the page says by itself meanwhile stays until there is something new.
                    yield step._replace(status=gr.skip()) if note == told else step
                    told = note
            cut = run.stopped and stream.answer.finish_reason in ("", "cancelled")
            note = _joined([report(stream.answer, conversation.language), *notices])
            run.write(shown, STOPPED if cut else FINISHED, note, stream.answer)
        except (BackendError, MessageError, PictureError, SettingsError) as fault:
            run.write(_written(stream), FAILED, tell(conversation.language, str(fault)), _details(stream))
        except Exception:
            logger.exception("The answer failed.")
            run.write(_written(stream), FAILED, say(conversation.language, "status.broken"), _details(stream))
        finally:
            run.write(
                _written(stream), STOPPED, say(conversation.language, "status.stopped"), _details(stream)
            )  # if the visitor left; otherwise all is written
        # Gradio shows the last values again when an action ends, so even a replaced one ends with what is true now.
        last = conversation.exchanges[-1:]
        note, failed = (last[0].note, last[0].state == FAILED) if last else ("", False)
        yield self._show(conversation, box=None if conversation.busy else box_idle(), note=note, warning=failed)

    def _find(self, conversation_id: str | None) -> Conversation | None:
        try:
            return self._store.get(conversation_id)
        except ConversationExpired:
            return None

    def _begin_anew(self) -> Shown:
        conversation = self._store.open()
        # The language was forgotten with the conversation; the request that found it gone has it.
        conversation.language = language_of(LocalContext.request.get(None))
        return Shown(conversation.id, [], box_idle(), status_html(say(conversation.language, "status.expired"), warning=True), _settled())

    def _show(self, conversation: Conversation, box=None, note: str = "", warning: bool = True) -> Shown:
        settled = gr.skip() if conversation.busy else _settled()
        messages = chat_messages(conversation.exchanges, conversation.language)
        return Shown(gr.skip(), messages, box or gr.skip(), status_html(note, warning=warning), settled)

    @staticmethod
    def _position(conversation: Conversation, message: int) -> int | None:
        positions = message_positions(conversation.exchanges)
        return positions[message] if 0 <= message < len(positions) else None

    def _take_pictures(self, conversation: Conversation, files: Sequence[str]) -> list[StoredPicture]:
        if len(files) > MAX_PICTURES_PER_QUESTION:
            raise Refused(say(conversation.language, "status.many", most=MAX_PICTURES_PER_QUESTION, count=len(files)), files)
        about = self._backend.description
        room = about.context_length // 2 // about.image_tokens - len(conversation.pictures)
        if len(files) > room:
            key = "status.room_none" if room <= 0 else "status.room_one" if room == 1 else "status.room"
            raise Refused(say(conversation.language, key, count=room), files)
        pictures, good, complaints = [], [], []
        for file in files:
            try:
                pictures.append(self._open_picture(file))
                good.append(file)
            except PictureError as fault:
                complaints.append(tell(conversation.language, str(fault)))
        if complaints:
            raise Refused(" ".join(complaints), good)
        return pictures

    def _open_picture(self, file: str) -> StoredPicture:
        """The upload `file`, opened and stored once. Raises `PictureError`."""
        prepared = self._prepared.get(file)
        if prepared is not None and self._store.still_has(prepared):
            return prepared
        return self._store.store_picture(load_picture(file), file)

    @staticmethod
    def _take_question(conversation: Conversation, text: str | None, pictures: int, files: Sequence[str] = ()) -> str:
        question, language = undefuse(text or "").strip(), conversation.language
        if len(question) > MAX_QUESTION_CHARACTERS:
            raise Refused(say(language, "status.long", count=len(question), most=MAX_QUESTION_CHARACTERS), files)
        if question:
            return question
        if not pictures:
            raise Refused(say(language, "status.nothing"))
        return say(language, "chat.describe" if pictures == 1 else "chat.describe_all")


def _written(stream: AnswerStream | None) -> str:
    return stream.answer.text if stream else ""


def _details(stream: AnswerStream | None) -> Answer | None:
    return stream.answer if stream else None


def _busy(conversation: Conversation) -> Shown:
    return Shown(status=status_html(say(conversation.language, "status.busy"), warning=True))


def _waiting(place: Place, language: str) -> str:
    seconds = place.expected_seconds
    if seconds is None:
        return say(language, "status.waiting", ahead=place.ahead)
    return say(language, "status.waiting_about", ahead=place.ahead, seconds=max(1, round(seconds)))


def _settled() -> str:
    """A value of `PageParts.settled` that was not there before."""
    return str(time.monotonic_ns())


def _joined(notes: Sequence[str]) -> str:
    return " · ".join(note for note in notes if note)
