"""One choice of a completion: a backend's stream read up to its end or to a stop text, told as deltas. Knows nothing of HTTP.

It is read in a thread, one delta at a time; `cancel` may come from any other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..chat.backends.base import Answer, AnswerStream, TokenLogprob
from .stop_texts import StopTexts


@dataclass(frozen=True)
class Piece:
    """More of the text, with the tokens made since the last piece and, if asked for, the log-probabilities of those shown."""

    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprob]


class ChoiceStream:
    """Pieces of one answer. `stop_reason` is, at the end, the stop text that was met, "guard", or None."""

    def __init__(self, stream: AnswerStream, stop: Sequence[str] = ()):
        self._stream = stream
        self._stops = StopTexts(stop)
        self._ids_told = self._logprobs_told = 0
        # In bytes: what was shown, and what the tokens whose logprobs were told amount to.
        self._shown = self._accounted = 0

    @property
    def answer(self) -> Answer:
        return self._stream.answer

    @property
    def stop_reason(self) -> str | None:
        return self._stops.found if self._stops.found is not None else "guard" if self.answer.finish_reason == "guard" else None

    @property
    def finish_reason(self) -> str:
        return "length" if self._stops.found is None and self.answer.finish_reason == "length" else "stop"

    def cancel(self) -> None:
        self._stream.cancel()

    def pieces(self) -> Iterator[Piece]:
        """The pieces as they come; the stream is closed at the end, however it comes. Raises what the backend raises."""
        with self._stream as stream:
            for text in stream:
                shown = self._stops.push(text)
                if shown:
                    yield self._piece(shown)
                if self._stops.found is not None:
                    break
            rest = self._stops.finish()
        whole = self.stop_reason is None
        last = self._piece(rest, whole)
        if last.text or last.token_ids or last.logprobs:
            yield last

    def _piece(self, text: str, all_of_it: bool = False) -> Piece:
        ids = self.answer.token_ids[self._ids_told :]
        self._ids_told += len(ids)
        self._shown += len(text.encode(errors="replace"))
        return Piece(text, ids, list(self._logprobs(all_of_it)))

    def _logprobs(self, all_of_it: bool) -> Iterator[TokenLogprob]:
        """Those of the tokens that begin in front of the end of what was shown: others may yet turn out to belong to a stop text."""
        while self._logprobs_told < len(self.answer.logprobs) and (all_of_it or self._accounted < self._shown):
            told = self.answer.logprobs[self._logprobs_told]
            self._logprobs_told += 1
            # Blanks in front of an answer are not shown.
            self._accounted += len(told.data if self._accounted else told.data.lstrip())
            yield told
