"""The bodies of answers: a whole chat completion, or the chunks of a stream as server-sent events."""

import json
import secrets
import time
from collections.abc import Sequence

from pydantic import BaseModel

from ..chat.backends.base import Answer, TokenLogprob
from .answering import ChoiceStream, Piece
from .errors import ApiError
from .schema import (
    AnswerTimings,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChoiceLogprobs,
    ChunkChoice,
    CompletionUsage,
    Delta,
    PromptDetails,
    Reply,
    TokenChoice,
    TokenInfo,
)

IMPOSSIBLE = -9999.0  # JSON has no minus infinity

DONE = b"data: [DONE]\n\n"
STILL_HERE = b": still working\n\n"


class CompletionWriter:
    """Writes the answers to one request under one id. `with_logprobs` and `with_ids`: whether the client asked for them."""

    def __init__(self, model: str, with_logprobs: bool, with_ids: bool, with_usage: bool):
        self._frame = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}
        self._with_logprobs, self._with_ids, self._with_usage = with_logprobs, with_ids, with_usage

    def whole(self, finished: Sequence[tuple[ChoiceStream, list[Piece]]]) -> ChatCompletion:
        """The completion of choices that have ended, each with its pieces."""
        choices = []
        for index, (choice, pieces) in enumerate(finished):
            choices.append(
                Choice(
                    index=index,
                    message=Reply(content="".join(piece.text for piece in pieces)),
                    logprobs=self._logprobs([told for piece in pieces for told in piece.logprobs]),
                    finish_reason=choice.finish_reason,
                    stop_reason=choice.stop_reason,
                    **self._ids([token for piece in pieces for token in piece.token_ids]),
                )
            )
        answers = [choice.answer for choice, _ in finished]
        return ChatCompletion(
            **self._frame, choices=choices, usage=total_usage(answers), timings=_timings(answers), notices=_notices(answers)
        )

    def opening(self, index: int, answer: Answer) -> bytes:
        """The first chunk of a choice, with what is known before its first token."""
        notices = {"notices": list(answer.notices)} if answer.notices else {}
        return self._event(choices=[ChunkChoice(index=index, delta=Delta(role="assistant", content=""))], **notices)

    def piece(self, index: int, piece: Piece) -> bytes:
        logprobs = self._logprobs(piece.logprobs)
        chunk = ChunkChoice(index=index, delta=Delta(content=piece.text), logprobs=logprobs, **self._ids(piece.token_ids))
        return self._event(choices=[chunk])

    def ending(self, index: int, choice: ChoiceStream) -> bytes:
        chunk = ChunkChoice(index=index, delta=Delta(), finish_reason=choice.finish_reason, stop_reason=choice.stop_reason)
        return self._event(choices=[chunk], timings=_timings([choice.answer]), notices=_notices([choice.answer]))

    def usage(self, answers: Sequence[Answer]) -> bytes:
        """The last chunk, for clients that asked for it with stream_options."""
        return self._event(choices=[], usage=total_usage(answers)) if self._with_usage else b""

    def _event(self, **content) -> bytes:
        usage = {"usage": None} if self._with_usage else {}
        return event(ChatCompletionChunk(**{**self._frame, **usage, **content}))

    def _ids(self, ids: list[int]) -> dict:
        return {"token_ids": ids} if self._with_ids else {}

    def _logprobs(self, told: Sequence[TokenLogprob]) -> ChoiceLogprobs | None:
        if not self._with_logprobs:
            return None
        content = [TokenChoice(**_token(each), top_logprobs=[TokenInfo(**_token(other)) for other in each.top]) for each in told]
        return ChoiceLogprobs(content=content)


def event(body: BaseModel) -> bytes:
    """One server-sent event, with `object` always there and what was not set left out."""
    named = {"object": body.object} if hasattr(body, "object") else {}
    return b"data: " + body.model_copy(update=named).model_dump_json(exclude_unset=True).encode() + b"\n\n"


def error_event(error: ApiError) -> bytes:
    """What a stream ends with when it was broken off."""
    return b"data: " + json.dumps(error.body).encode() + b"\n\n"


def total_usage(answers: Sequence[Answer]) -> CompletionUsage:
    """The prompt counts once, however many choices were made of it."""
    prompt, completion = answers[0].usage, sum(answer.usage.completion_tokens for answer in answers)
    return CompletionUsage(
        prompt_tokens=prompt.prompt_tokens,
        completion_tokens=completion,
        total_tokens=prompt.prompt_tokens + completion,
        prompt_tokens_details=PromptDetails(cached_tokens=prompt.reused_tokens, image_tokens=prompt.image_tokens),
    )


def _timings(answers: Sequence[Answer]) -> AnswerTimings:
    first = answers[0].timings
    return AnswerTimings(encode_s=first.encode_s, ttft_s=first.ttft_s, decode_s=sum(answer.timings.decode_s for answer in answers))


def _notices(answers: Sequence[Answer]) -> list[str]:
    return list(dict.fromkeys(notice for answer in answers for notice in answer.notices))


def _token(told: TokenLogprob) -> dict:
    return {"token": told.data.decode(errors="replace"), "logprob": max(told.logprob, IMPOSSIBLE), "bytes": list(told.data)}
