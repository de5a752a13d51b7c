"""Who describes pictures: the engine, a batch at a time, or an endpoint, many requests at a time.

A describer answers conversations whose pictures are paths. What is asked, and when to go on, is `describe`'s business.
"""

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from ..chat.backends.base import Answer, Backend
from ..chat.settings import GenerationSettings
from .endpoint import Endpoint, RequestRefused, with_pictures


@dataclass(frozen=True)
class Said:
    """One answer, or why there is none. `tokens` is how long it is."""

    text: str = ""
    tokens: int = 0
    finish_reason: str = ""
    problem: str = ""


class Describer(Protocol):
    """`name` is the author of what it says, `batch_size` how many conversations it likes at a time, `engine` what computes the LLM
    ("torch", "llama.cpp"; "" where that is nobody's to know)."""

    name: str
    batch_size: int
    engine: str

    def ask(self, conversations: Sequence[list[dict]]) -> list[Said]:
        """The answers, in order. Raises what ends the whole run."""

    def close(self) -> None: ...


class BackendDescriber:
    """A backend of this project; an engine computes the whole batch side by side (`Engine.answer_all`)."""

    def __init__(self, backend: Backend, name: str, settings: GenerationSettings, batch_size: int):
        self.name, self.batch_size = name, batch_size
        self.engine = backend.computed_by(settings) if hasattr(backend, "computed_by") else ""
        self._backend, self._settings = backend, settings
        self._asked = 0

    def ask(self, conversations: Sequence[list[dict]]) -> list[Said]:
        settings = self._settings
        if settings.seed is not None:  # else every batch would draw the same
            settings = dataclasses.replace(settings, seed=(settings.seed + self._asked) % 2**63)
        self._asked += len(conversations)
        return [
            Said(answer.text.strip(), answer.usage.completion_tokens, answer.finish_reason)
            for answer in self._answers(conversations, settings)
        ]

    def close(self) -> None:
        self._backend.close()

    def _answers(self, conversations: Sequence[list[dict]], settings: GenerationSettings) -> list[Answer]:
        if hasattr(self._backend, "answer_all"):
            return self._backend.answer_all(conversations, settings)
        return [self._backend.answer(messages, settings) for messages in conversations]


class EndpointDescriber:
    """A model behind an endpoint. `options` go into every request."""

    engine = ""

    def __init__(self, endpoint: Endpoint, batch_size: int, options: dict[str, float | int]):
        self.name, self.batch_size = endpoint.model, batch_size
        self._endpoint, self._options = endpoint, options
        self._threads = ThreadPoolExecutor(batch_size)

    def ask(self, conversations: Sequence[list[dict]]) -> list[Said]:
        return list(self._threads.map(self._ask, conversations))

    def close(self) -> None:
        self._endpoint.close()
        self._threads.shutdown(cancel_futures=True)

    def _ask(self, messages: list[dict]) -> Said:
        try:
            answer = self._endpoint.complete(with_pictures(messages), **self._options)
        except RequestRefused as error:
            return Said(problem=str(error))
        # A server that does not count has its words counted.
        return Said(answer.text, answer.completion_tokens or len(answer.text.split()), answer.finish_reason)
