"""What was said and shown, kept on the server: one conversation per browser tab.

The page's chat is only a view of it: nothing that comes back from a browser is ever taken as history, apart from an unguessable
id. Knows nothing of Gradio, and of pictures only when they may go; `stored_pictures` keeps them.
"""

import dataclasses
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..chat.backends.base import Answer, AnswerStream
from ..chat.pictures import LoadedPicture
from ..chat.settings import GenerationSettings
from .stored_pictures import PictureFiles, StoredPicture

# States of an answer: being written, or why it ended.
WAITING, FINISHED, STOPPED, FAILED = "waiting", "finished", "stopped", "failed"


class ConversationExpired(LookupError):
    """The conversation is no longer kept: the server was restarted, or it was not used for long."""


class ConversationBusy(RuntimeError):
    """An answer is still being written."""


@dataclass(frozen=True)
class Exchange:
    """One question with its pictures, and the answer as far as it has come. `note` is what the status line says about it.

    `settings`, with the seed that was drawn, make the same answer again. `details`, once it has ended, are its tokens and figures.
    """

    question: str
    pictures: tuple[StoredPicture, ...] = ()
    answer: str = ""
    state: str = WAITING
    note: str = ""
    settings: GenerationSettings | None = None
    details: Answer | None = dataclasses.field(default=None, compare=False)


class Run:
    """The writing of one answer. A run that was replaced (by clear, undo, edit or retry) writes nothing any more."""

    def __init__(self, conversation: "Conversation"):
        self._conversation = conversation
        self._stream: AnswerStream | None = None
        self.stopped = False

    @property
    def current(self) -> bool:
        return self._conversation._run is self

    def attach(self, stream: AnswerStream) -> None:
        """The stream that this run reads; it is cancelled at once if Stop came first."""
        self._stream = stream
        if self.stopped:
            stream.cancel()

    def stop(self) -> None:
        self.stopped = True
        if self._stream is not None:
            self._stream.cancel()

    def prepare(self, settings: GenerationSettings) -> None:
        """The settings that the answer is made with."""
        self._change(settings=settings)

    def write(self, answer: str, state: str = WAITING, note: str = "", details: Answer | None = None) -> None:
        self._change(answer=answer, state=state, note=note, details=details)

    def _change(self, **changed) -> None:
        with self._conversation._lock:
            if self.current:
                last = dataclasses.replace(self._conversation._exchanges[-1], **changed)
                self._conversation._exchanges[-1] = last
                if last.state != WAITING:
                    self._conversation._run = None


class Conversation:
    """Exchanges in order, and at most one run that writes the last answer. Safe to call from several threads."""

    def __init__(self, exchanges: Sequence[Exchange] = (), record_id: str | None = None, title: str = "", copied: bool = False):
        """`record_id` names it in the browser's history, also after a reload, which changes its `id`; `title` is a person's name for it.

        Another tab goes on with the one that this is `copied` from: it takes a name of its own as soon as they differ.
        """
        self.id = secrets.token_urlsafe(24)
        self.language = "en"  # of the visitor's page
        self.record_id = record_id or secrets.token_urlsafe(12)
        self.title = title
        self._copied = copied
        self._exchanges = list(exchanges)
        self._lock = threading.RLock()
        self._run: Run | None = None

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        with self._lock:
            return tuple(self._exchanges)

    @property
    def busy(self) -> bool:
        return self._run is not None

    @property
    def pictures(self) -> tuple[StoredPicture, ...]:
        return tuple(picture for exchange in self.exchanges for picture in exchange.pictures)

    def ask(self, question: str, pictures: Sequence[StoredPicture] = ()) -> Run:
        """Add a question; what is returned writes its answer. Raises `ConversationBusy`, and then adds nothing."""
        with self._lock:
            if self.busy:
                raise ConversationBusy
            self._exchanges.append(Exchange(question, tuple(pictures)))
            self._part()
            return self._start()

    def ask_again(self, position: int, question: str | None = None) -> Run:
        """Answer the question at `position` anew, with another text if one is given; what followed it is dropped, its pictures stay.

        Raises `IndexError` if there is no such question.
        """
        with self._lock:
            asked = self._at(position)
            self.stop()
            self._exchanges[position:] = [Exchange(asked.question if question is None else question, asked.pictures)]
            self._part()
            return self._start()

    def take_back(self, position: int) -> Exchange:
        """Remove the question at `position` and what followed; returns it. Raises `IndexError` if there is no such question."""
        with self._lock:
            asked = self._at(position)
            self.stop()
            self._run = None
            del self._exchanges[position:]
            self._part()
            return asked

    def clear(self) -> None:
        with self._lock:
            self.stop()
            self._run = None
            self._exchanges.clear()
            self.record_id, self.title, self._copied = secrets.token_urlsafe(12), "", False

    def stop(self) -> None:
        """Stop the answer that is being written, if one is; what there is of it stays."""
        run = self._run
        if run is not None:
            run.stop()

    def messages(self) -> list[dict]:
        """The conversation for a backend, up to and including the last question.

        A question that was stopped before its first word stays in front of the next one. Of one that failed before its first
        word only the pictures stay: its text may be what the model has no room for, and would make every later question fail.
        """
        messages = []
        exchanges = self.exchanges
        for position, exchange in enumerate(exchanges):
            earlier = position < len(exchanges) - 1
            parts = [{"type": "image", "image": picture.loaded} for picture in exchange.pictures]
            if not (earlier and exchange.state == FAILED and not exchange.answer):
                parts.append({"type": "text", "text": exchange.question})
            if parts:
                messages.append({"role": "user", "content": parts})
            if exchange.answer and earlier:
                messages.append({"role": "assistant", "content": [{"type": "text", "text": exchange.answer}]})
        return messages

    def _at(self, position: int) -> Exchange:
        if not 0 <= position < len(self._exchanges):
            raise IndexError(f"There is no question number {position + 1}.")
        return self._exchanges[position]

    def _part(self) -> None:
        """From now on this differs from what it was copied from."""
        if self._copied:
            self.record_id, self._copied = secrets.token_urlsafe(12), False

    def _start(self) -> Run:
        self._run = Run(self)
        return self._run


class ConversationStore:
    """All conversations of this server, and the folder of their pictures. The least recently used go first.

    `capacity` counts conversations; one that is not used for `idle_seconds` goes too, and with it the files of its pictures,
    unless another conversation has them or they were stored less than `fresh_seconds` ago and may be about to be asked about.
    """

    def __init__(self, folder: Path, capacity: int = 1000, idle_seconds: float = 24 * 3600, fresh_seconds: float = 600):
        self._files = PictureFiles(folder)
        self._capacity = capacity
        self._idle_seconds = idle_seconds
        self._kept: OrderedDict[str, tuple[float, Conversation]] = OrderedDict()
        self._lock = threading.Lock()
        self._fresh_seconds = fresh_seconds
        self._fresh: dict[Path, float] = {}

    def open(self, exchanges: Sequence[Exchange] = (), record_id: str | None = None, title: str = "", copied: bool = False) -> Conversation:
        conversation = Conversation(exchanges, record_id, title, copied)
        with self._lock:
            self._keep(conversation)
        return conversation

    def get(self, conversation_id: str | None) -> Conversation:
        """The conversation with that id. Raises `ConversationExpired`."""
        with self._lock:
            self._drop_idle()
            if not conversation_id or conversation_id not in self._kept:
                raise ConversationExpired
            conversation = self._kept.pop(conversation_id)[1]
            self._keep(conversation)
            return conversation

    def resume(self, conversation_id: str, copied: bool = False) -> Conversation:
        """A copy of that conversation under a new id, for a page that was reloaded. Raises `ConversationExpired`.

        A copy, since a browser's "duplicate tab" looks much like a reload, and two tabs must not write into one conversation. `copied`
        says that the page knows of the other tab.
        """
        earlier = self.get(conversation_id)
        exchanges = [dataclasses.replace(e, state=STOPPED) if e.state == WAITING else e for e in earlier.exchanges]
        return self.open(exchanges, earlier.record_id, earlier.title, copied)

    def drop_idle(self) -> None:
        """Forget the conversations that were not used for long."""
        with self._lock:
            self._drop_idle()

    def __len__(self) -> int:
        return len(self._kept)

    def store_picture(self, picture: LoadedPicture, name: str = "") -> StoredPicture:
        """Keep the picture as files that are called like the visitor's file `name`; what is there already is not written again."""
        stored = self._files.place(picture, name)
        with self._lock:
            self._fresh[stored.path] = time.monotonic()
        self._files.write(picture, stored)
        return stored

    def still_has(self, stored: StoredPicture) -> bool:
        """Whether the files of `stored` are there; they then stay at least as long as those of a picture that is stored now."""
        with self._lock:
            there = stored.path.exists() and stored.view.exists()
            if there:
                self._fresh[stored.path] = time.monotonic()
            return there

    def _keep(self, conversation: Conversation) -> None:
        self._kept[conversation.id] = (time.monotonic(), conversation)
        while len(self._kept) > self._capacity:
            self._drop_oldest()

    def _drop_idle(self) -> None:
        while self._kept and time.monotonic() - next(iter(self._kept.values()))[0] > self._idle_seconds:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (_, dropped) = self._kept.popitem(last=False)
        dropped.stop()
        recently = time.monotonic() - self._fresh_seconds
        self._fresh = {path: stored for path, stored in self._fresh.items() if stored > recently}
        still_used = {picture.path for _, kept in self._kept.values() for picture in kept.pictures} | self._fresh.keys()
        self._files.forget(dropped.pictures, still_used)
