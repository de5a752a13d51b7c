"""A backend that is watched: before each question and after each answer, whoever asked (page, API), the watchers are told.

Limits, metrics and the record of conversations are watchers; the backend and those who ask know nothing of them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from ..chat.backends.base import Answer, AnswerStream, Backend, BackendDescription
from ..chat.settings import GenerationSettings


class Watcher(Protocol):
    """What is told. Both are called from the threads of those who ask, several at a time."""

    def asked(self, messages: list[dict], settings: GenerationSettings) -> None:
        """A question comes in. What this raises refuses it, and is seen by who asked; `answered` is then not called."""

    def answered(self, messages: list[dict], settings: GenerationSettings, answer: Answer, fault: Exception | None) -> None:
        """An answer is over: whole, cancelled, or broken off by `fault`. Raises nothing."""


class WatchedBackend:
    """`backend` with `watchers`; whatever else it offers is there unchanged. `answer_limit` bounds what it writes by default, too."""

    def __init__(self, backend: Backend, watchers: Sequence[Watcher], answer_limit: int = 0):
        self._backend = backend
        self._answer_limit = answer_limit
        self._watchers = tuple(watchers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    @property
    def description(self) -> BackendDescription:
        about = dataclasses.replace(self._backend.description, answer_limit=self._answer_limit)
        return dataclasses.replace(about, settings=about.settings.no_longer_than(self._answer_limit or about.settings.max_new_tokens))

    def stream(self, messages: list[dict], settings: GenerationSettings | None = None, **more: Any) -> AnswerStream:
        used = settings or self.description.settings
        told = []
        try:
            for watcher in self._watchers:
                watcher.asked(messages, used)
                told.append(watcher)
            stream = self._backend.stream(messages, used, **more)
        except Exception as fault:
            for watcher in told:
                watcher.answered(messages, used, Answer(), fault)
            raise
        return _WatchedStream(stream, lambda answer, fault: [watcher.answered(messages, used, answer, fault) for watcher in told])

    def answer(self, messages: list[dict], settings: GenerationSettings | None = None) -> Answer:
        return self.stream(messages, settings).join()

    def generate(self, messages: list[dict], settings: GenerationSettings | None = None) -> str:
        return self.answer(messages, settings).text


class _WatchedStream(AnswerStream):
    """`stream`, and a call of `ended(answer, fault)` when it is over, once."""

    def __init__(self, stream: AnswerStream, ended):
        self._stream = stream
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __next__(self) -> str:
        try:
            return next(self._stream)
        except StopIteration:
            self._tell(None)
            raise
        except Exception as fault:
            self._tell(fault)
            raise

    def cancel(self) -> None:
        self._stream.cancel()

    def close(self) -> None:
        self._stream.close()
        self._tell(None)

    def _tell(self, fault: Exception | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self._stream.answer, fault)
