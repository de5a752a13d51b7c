"""One question answered twice, side by side: by two models, or by one with two settings. Knows nothing of Gradio.

Both answers are written at the same time; models that share a processor share its time, so their seconds are no measure of them.
"""

import difflib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..chat.backends.base import Answer, AnswerStream, Backend, BackendError
from ..chat.messages import MessageError
from ..chat.pictures import PictureError
from ..chat.settings import GenerationSettings, SettingsError
from .pacing import paced
from .texts import ENGLISH, say
from .told import tell

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Side:
    """One of the two: which of the models answers, and how."""

    model: str
    settings: GenerationSettings


@dataclass(frozen=True)
class SideAnswer:
    """An answer as far as it has come. `note` says how it ended, empty while it is written; `fault` that it could not be.

    `stopped` says that it was left unfinished because somebody wanted so.
    """

    text: str = ""
    note: str = ""
    fault: bool = False
    stopped: bool = False


def compare(
    backends: Mapping[str, Backend],
    messages: list[dict],
    sides: Sequence[Side],
    language: str = ENGLISH,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[list[SideAnswer]]:
    """The answers of all `sides` to `messages`, again and again until all have ended.

    They end soon when `stopped()` says so, and at once when the iterator is closed. What one side cannot do becomes its note; the
    other goes on.
    """
    runs = [_Run(backends[side.model], messages, side.settings, language, stopped) for side in sides]
    try:
        while any(run.running for run in runs):
            for run in runs:
                run.go_on()
            yield [run.shown for run in runs]
    finally:
        for run in runs:
            run.close()


class _Run:
    def __init__(self, backend: Backend, messages: list[dict], settings: GenerationSettings, language: str, stopped: Callable[[], bool]):
        self._language = language
        self._stopped = stopped
        self.shown = SideAnswer()
        self.running = True
        self._stream: AnswerStream | None = None
        self._texts: Iterator[str] = iter(())
        self._guarded(lambda: self._open(backend, messages, settings))

    def go_on(self) -> None:
        """Wait a moment for more text."""
        if self.running:
            self._guarded(self._take)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.cancel()

    def _open(self, backend: Backend, messages: list[dict], settings: GenerationSettings) -> None:
        self._stream = backend.stream(messages, settings)
        self._texts = paced(self._stream, self._stopped)

    def _take(self) -> None:
        if self._stopped():
            self._stream.cancel()
        text = next(self._texts, None)
        if text is not None:
            self.shown = SideAnswer(text)
            return
        self.running = False
        answer = self._stream.answer
        # A backend that did not stop in time has not said how the answer ended.
        self.shown = SideAnswer(answer.text, _ending(answer, self._language), stopped=answer.finish_reason in ("", "cancelled"))

    def _guarded(self, step) -> None:
        try:
            step()
        except (BackendError, MessageError, PictureError, SettingsError) as fault:
            self._fail(tell(self._language, str(fault)))
        except Exception:
            logger.exception("One side of a comparison failed.")
            self._fail(say(self._language, "status.broken"))

    def _fail(self, why: str) -> None:
        self.running = False
        self.shown = SideAnswer(self._stream.answer.text if self._stream else "", why, fault=True)


def _ending(answer: Answer, language: str) -> str:
    count = answer.usage.completion_tokens
    endings = {"length": "status.cut", "cancelled": "status.stopped", "": "status.stopped"}
    ending = say(language, endings[answer.finish_reason]) if answer.finish_reason in endings else ""
    notices = [tell(language, notice) for notice in answer.notices]
    return " · ".join(filter(None, [say(language, "status.token" if count == 1 else "status.tokens", count=count), ending, *notices]))


def agreement(one: str, other: str) -> tuple[float, int]:
    """How far two answers agree: the share of their words, in order, that both have, and how many words at their beginning are the same."""
    words = [re.findall(r"\w+", text.lower()) for text in (one, other)]
    shared = difflib.SequenceMatcher(None, *words, autojunk=False).ratio()
    same = 0
    for first, second in zip(*words, strict=False):
        if first != second:
            break
        same += 1
    return shared, same
