"""The interface between who asks (page, API, verbs, evaluation) and who answers (engine, remote server, echo).

Knows nothing of torch. A backend has one way to answer, `stream`; `answer` and `generate` are its join.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..settings import MOST_NEW_TOKENS, GenerationSettings


class BackendError(RuntimeError):
    """A fault that the person asking can do something about; its text is a sentence to show them."""


@dataclass(frozen=True)
class BackendDescription:
    """What is running, in words for people. `settings` are the defaults that suit this model.

    `answer_limit` is how many tokens whoever runs it allows in an answer; 0: as many as there is room for.
    """

    name: str
    title: str
    good_for: str
    device: str
    context_length: int
    image_tokens: int
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    answer_limit: int = 0

    @property
    def longest_answer(self) -> int:
        """The most tokens that may be asked for."""
        return min(MOST_NEW_TOKENS, self.context_length, self.answer_limit or self.context_length)


@dataclass
class Usage:
    """Token counts of one answer. `prompt_tokens` includes `image_tokens`; `reused_tokens` of them came from the cache."""

    image_tokens: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class Timings:
    """Seconds: encoding pictures, from call to first token, from first token to last."""

    encode_s: float = 0.0
    ttft_s: float = 0.0
    decode_s: float = 0.0


@dataclass(frozen=True)
class TokenLogprob:
    """A token's bytes, the natural logarithm of its probability to the model, and the likeliest tokens in its place."""

    data: bytes
    logprob: float
    top: tuple["TokenLogprob", ...] = ()


@dataclass
class Answer:
    """A finished (or closed) answer. `finish_reason` is "stop", "length", "guard" or, for a closed stream, "cancelled".

    Which guard ended it is the last of `notices`. `logprobs`, where asked for, has one entry for each token apart from the end token.
    """

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    notices: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)


class AnswerStream(Iterator[str]):
    """Pieces of text as they are made; `answer` fills while they come and is complete when the stream ends.

    `notices` of the answer ("older turns were left out") are there before the first piece. Closing the stream, from any
    thread, stops the computing within one token; a stream that is dropped closes itself.
    """

    def __init__(self, run: Callable[[Answer, Callable[[], bool]], Iterator[str]]):
        """`run(answer, cancelled)` is the generator that makes the pieces; it looks at `cancelled()` between tokens."""
        self.answer = Answer()
        # Not a method of this object: a generator that held its stream would keep it alive after the reader dropped it.
        self._cancelled = threading.Event()
        self._pieces = run(self.answer, self._cancelled.is_set)

    def __next__(self) -> str:
        piece = next(self._pieces)
        self.answer.text += piece
        return piece

    def cancel(self) -> None:
        """Ask the computing to stop; safe from any thread. The iterator then ends with finish_reason "cancelled"."""
        self._cancelled.set()

    def close(self) -> None:
        self._cancelled.set()
        with contextlib.suppress(ValueError):  # another thread is inside the generator: it sees the flag at its next token
            self._pieces.close()
        if not self.answer.finish_reason:
            self.answer.finish_reason = "cancelled"

    def __enter__(self) -> "AnswerStream":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def __del__(self):
        self.close()

    def join(self) -> Answer:
        """Run to the end and return the whole answer."""
        for _ in self:
            pass
        return self.answer


class Backend(Protocol):
    """Answers conversations. `messages` are as in `chat.messages`; implementations are safe to call from several threads."""

    description: BackendDescription

    def stream(self, messages: list[dict], settings: GenerationSettings | None = None, top_logprobs: int | None = None) -> AnswerStream:
        """Start an answer. Raises `MessageError`, `PictureError`, `SettingsError` or `BackendError` at once or at the first piece.

        `top_logprobs` asks for `Answer.logprobs` with so many alternatives to each token, 0 for none; a backend that has none to give
        raises `SettingsError`.
        """

    def answer(self, messages: list[dict], settings: GenerationSettings | None = None) -> Answer:
        """The join of `stream`, with its token ids, counts and timings."""

    def generate(self, messages: list[dict], settings: GenerationSettings | None = None) -> str:
        """The join of `stream`: the text alone."""

    def close(self) -> None:
        """Free what the backend holds."""
