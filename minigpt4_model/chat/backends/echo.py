"""A backend without a model: it answers with what it received. For tests of the page and the API, and for trying the page."""

import time
from collections.abc import Callable, Iterator

from ..messages import Picture, load_conversation
from ..settings import GenerationSettings
from .base import Answer, AnswerStream, BackendDescription, TokenLogprob


class EchoBackend:
    """Streams, word by word, the pictures' sizes and the text of the last turn, and how many turns came before.

    A word is its token, and certain: there is never an alternative.
    """

    description = BackendDescription(
        name="echo",
        title="Echo",
        good_for="trying the page: it repeats what you send and looks at nothing",
        device="none",
        context_length=10**6,
        image_tokens=32,
        settings=GenerationSettings(),
    )

    def __init__(self, seconds_per_word: float = 0.0):
        self.seconds_per_word = seconds_per_word

    def stream(self, messages: list[dict], settings: GenerationSettings | None = None, top_logprobs: int | None = None) -> AnswerStream:
        settings = settings or self.description.settings
        turns = load_conversation(messages)
        words = self._reply(turns).split(" ")

        def run(answer: Answer, cancelled: Callable[[], bool]) -> Iterator[str]:
            start = time.perf_counter()
            pictures = sum(len(turn.pictures) for turn in turns)
            answer.usage.image_tokens = pictures * self.description.image_tokens
            answer.usage.prompt_tokens = answer.usage.image_tokens + sum(len(turn.text.split()) for turn in turns)
            for index, word in enumerate(words):
                if index == settings.max_new_tokens:
                    answer.finish_reason = "length"
                    return
                if self.seconds_per_word:
                    time.sleep(self.seconds_per_word)
                if cancelled():
                    answer.finish_reason = "cancelled"
                    return
                elapsed = time.perf_counter() - start
                if index == 0:
                    answer.timings.ttft_s = elapsed
                answer.timings.decode_s = elapsed - answer.timings.ttft_s
                answer.token_ids.append(index)
                answer.usage.completion_tokens += 1
                piece = word if index == 0 else " " + word
                if top_logprobs is not None:
                    certain = TokenLogprob(piece.encode(), 0.0)
                    answer.logprobs.append(TokenLogprob(certain.data, certain.logprob, (certain,)[:top_logprobs]))
                yield piece
            answer.finish_reason = "stop"

        stream = AnswerStream(run)
        stream.answer.notices += filter(None, [picture.notice for picture in turns[-1].pictures])
        return stream

    def answer(self, messages: list[dict], settings: GenerationSettings | None = None) -> Answer:
        return self.stream(messages, settings).join()

    def generate(self, messages: list[dict], settings: GenerationSettings | None = None) -> str:
        return self.answer(messages, settings).text

    def close(self) -> None:
        pass

    @staticmethod
    def _reply(turns) -> str:
        pictures = [part for turn in turns for part in turn.parts if isinstance(part, Picture)]
        sizes = ", ".join(f"{picture.image.width}x{picture.image.height}" for picture in pictures)
        seen = f"I received {len(pictures)} picture{'s' if len(pictures) != 1 else ''}" + (f" ({sizes})" if sizes else "")
        before = sum(turn.role == "user" for turn in turns) - 1
        return f"{seen} and {before} earlier question{'s' if before != 1 else ''}. You said: {turns[-1].text}"
