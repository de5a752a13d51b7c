"""From logits to tokens and from tokens to text: sampling, stops, and the pieces that people see. `AnswerWriter` is the loop.

Knows nothing of prompts, caches, threads or of what makes the logits, so it is the same for every engine. Sampling uses transformers'
logits processors in transformers' order, with a random generator of its own, so an answer depends on its seed and on nothing else in
the program. What a guard is, is `guards.py`'s business.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from .backends.base import Answer, BackendError
from .contrast import VisualContrast
from .guards import Guards
from .html_guard import HtmlGuard, OpenPage
from .logprobs import LogprobReader
from .settings import GenerationSettings
from .shown_text import NO_GUARDS, ShownText
from .templates import ChatTemplate

TOP_P_FIRST = 256


class RequireNumbers(LogitsProcessor):
    """Stops with a clear message where sampling would fail or, worse, go on with garbage."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        # The sum tells as much as each of them. torch would share a vocabulary among its threads, where llama.cpp's are still busy waiting.
        plain = scores.is_cpu and scores.dtype == torch.float32
        if not np.isfinite(scores.detach().numpy().sum() if plain else scores.float().sum().item()):
            raise BackendError("The model's output is not a number: weights or precision do not fit. Try --dtype float32, or run doctor.")
        return scores


class PenalizeRepetition(RepetitionPenaltyLogitsProcessor):
    """The repetition penalty over `first_ids` and the generated tokens, never the prompt."""

    def __init__(self, penalty: float, first_ids: Sequence[int]):
        super().__init__(penalty)
        self.first_ids = list(first_ids)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        first = torch.tensor([self.first_ids] * input_ids.shape[0], dtype=torch.long, device=input_ids.device)
        seen = torch.cat([first.reshape(input_ids.shape[0], -1), input_ids], dim=1)
        return super().__call__(seen, scores) if seen.shape[1] else scores


class Ban(LogitsProcessor):
    """Tokens that are never chosen. Two rows for the visual contrast stay two."""

    def __init__(self, tokens: Sequence[int]):
        self._tokens = torch.tensor(tokens, dtype=torch.long)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores.index_fill(1, self._tokens.to(scores.device), -torch.inf)


class WholeHtml(LogitsProcessor):
    """In a page of HTML, of the likeliest tokens those that may follow, and no other; outside of one it changes nothing.

    Where none of the likeliest may follow, more are looked at, all in the end; where none at all may, the page is left to the model.
    """

    LOOKED_AT = (64, 4096, 1 << 30)  # the last is the whole vocabulary: "</b" goes on with "utton", which may be no likely token

    def __init__(self, guard: HtmlGuard, limit: int, takes_first: bool = False):
        """`limit` is the answer's most tokens: before it comes the page is closed. `takes_first`: no other token than the likeliest is ever
        taken, so no other is looked at unless it may not follow."""
        self._guard, self._limit = guard, limit
        self._before: dict[tuple[int, ...], OpenPage] = {}  # the pages of the step before, by their tokens
        self._looked_at = (1, *self.LOOKED_AT) if takes_first else self.LOOKED_AT

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        rows = [tuple(ids) for ids in input_ids.tolist()]
        pages = [self._guard.page(ids, self._before.get(ids[:-1])) for ids in rows]
        self._before = {ids: page.copy() for ids, page in zip(rows, pages, strict=True) if page}
        if not any(pages):
            return scores  # as nearly always: no copy
        for page in filter(None, pages):
            page.close_within(self._limit - input_ids.shape[1])
        return torch.stack([self._kept(page, row) if page else row for page, row in zip(pages, scores, strict=True)])

    def _kept(self, page: OpenPage, scores: torch.Tensor) -> torch.Tensor:
        for number in self._looked_at:
            likeliest = scores.topk(min(number, len(scores))).indices.tolist()
            if fitting := [token for token in likeliest if self._guard.fits(page, token)]:
                kept = torch.full_like(scores, -torch.inf)
                kept[fitting] = scores[fitting]
                return kept
        return scores


class TopP(LogitsProcessor):
    """transformers' `TopPLogitsWarper` without sorting the whole vocabulary, which takes as long as a small LLM's step.

    The likeliest tokens that together reach `top_p` are nearly always among the first few hundred; where they are not, it is asked.
    """

    def __init__(self, top_p: float):
        self._top_p = top_p
        self._whole = TopPLogitsWarper(top_p)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        first = scores.softmax(dim=-1).topk(min(TOP_P_FIRST, scores.shape[-1]), dim=-1)
        before = first.values.cumsum(dim=-1) - first.values  # what the likelier ones reach together
        if bool((before[:, -1] + first.values[:, -1] < self._top_p).any()):
            return self._whole(input_ids, scores)
        kept = scores.gather(1, first.indices).masked_fill(before >= self._top_p, -torch.inf)
        return torch.full_like(scores, -torch.inf).scatter(1, first.indices, kept)


def build_logits_processors(settings: GenerationSettings, first_ids: Sequence[int] = (), guards: Guards = NO_GUARDS) -> LogitsProcessorList:
    """What `settings` and `guards` do to the logits; `first_ids` is what the repetition penalty sees before any token.

    The list raises `BackendError` when the logits are not numbers.
    """
    processors = LogitsProcessorList([RequireNumbers()])
    if guards.banned:
        processors.append(Ban(guards.banned))
    if settings.visual_contrast:
        processors.append(VisualContrast(settings.visual_contrast))
    if settings.repetition_penalty != 1.0:
        processors.append(PenalizeRepetition(settings.repetition_penalty, first_ids))
    if guards.html:
        processors.append(WholeHtml(guards.html, settings.max_new_tokens, takes_first=settings.greedy and settings.num_beams == 1))
    if settings.greedy:
        return processors
    if settings.temperature != 1.0:
        processors.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        processors.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        processors.append(TopP(settings.top_p))
    return processors


class TokenSampler:
    """Chooses the next token. Works in fp32 on the CPU, so that a seed means the same on every device."""

    def __init__(self, settings: GenerationSettings, seed: int, first_ids: Sequence[int] = (), guards: Guards = NO_GUARDS):
        self._greedy = settings.greedy
        self._processors = build_logits_processors(settings, first_ids, guards)
        self._generator = torch.Generator().manual_seed(seed)

    def sample(self, logits: torch.Tensor, generated: list[int]) -> int:
        """The next id from `logits` after the ids `generated`: `(V,)`, or `(2, V)` for the visual contrast, the second without pictures.

        Raises `BackendError` if the logits are not numbers.
        """
        rows = logits.float().cpu().reshape(-1, logits.shape[-1])
        scores, ids = rows, torch.tensor([generated], dtype=torch.long)
        for processor in self._processors:  # the list's own call looks up each one's signature at every token
            scores = processor(ids, scores)
        if self._greedy:
            return int(scores.detach().numpy().argmax())
        return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=self._generator))


@dataclass(frozen=True)
class StopRules:
    """What ends an answer: an end token, a run of ids, or (in `TextAssembler`) a text."""

    end_tokens: frozenset[int]
    sequences: tuple[tuple[int, ...], ...]

    @classmethod
    def from_template(cls, template: ChatTemplate, tokenizer: Any) -> "StopRules":
        """The template's rules in the tokenizer's vocabulary, with the tokenizer's own end token.

        A run of ids is used only where it spells one of the template's stop texts.
        """
        vocabulary = tokenizer.get_vocab()
        ends = {vocabulary[token] for token in template.stop_tokens if token in vocabulary}
        ends |= {tokenizer.eos_token_id} - {None}
        size = len(tokenizer)
        sequences = tuple(
            ids for ids in template.stop_sequences if max(ids) < size and tokenizer.decode(list(ids)).strip() in template.stop_texts
        )
        return cls(frozenset(ends), sequences)

    def reached(self, ids: Sequence[int]) -> bool:
        return bool(ids) and (ids[-1] in self.end_tokens or any(tuple(ids[-len(run) :]) == run for run in self.sequences))


class TextAssembler(ShownText):
    """Turns tokens into pieces of text that are safe to show at once (`ShownText`), none of which ends inside a character.

    Bytes that are no UTF-8 are left out.
    """

    def __init__(self, tokenizer: Any, template: ChatTemplate, guards: Guards = NO_GUARDS):
        super().__init__(template, guards)
        self._tokenizer = tokenizer
        # Ids from `_context` to `_read` are decoded text already, kept because a token's text depends on the one before it.
        self._ids: list[int] = []
        self._context = self._read = 0

    def push(self, token_id: int) -> str:
        """The text that can be shown after one more token; sets `stopped` when it completes a stop text, or when a guard ends it, whose
        sentence is then in `stopped_by`."""
        self._ids.append(token_id)
        return self.push_text(self._decode())

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens on their own."""
        return self._tokenizer.decode(ids, skip_special_tokens=True)

    def _decode(self) -> str:
        before = self._tokenizer.decode(self._ids[self._context : self._read], skip_special_tokens=True)
        after = self._tokenizer.decode(self._ids[self._context :], skip_special_tokens=True)
        if after.endswith("�"):  # the character is not complete yet
            return ""
        self._context, self._read = self._read, len(self._ids)
        return after[len(before) :].replace("�", "")


@dataclass(frozen=True)
class AnswerWriter:
    """Writes one answer from the logits behind its prompt and behind each of its tokens. `limit` is its most tokens.

    `on_token` is called when a token was chosen, before its piece is given. `logprobs` fills `answer.logprobs`.
    """

    answer: Answer
    sampler: TokenSampler
    text: TextAssembler
    rules: StopRules
    guards: Guards
    limit: int
    on_token: Callable[[], None]
    logprobs: LogprobReader | None = None

    def write(self, logits: torch.Tensor, advance: Callable[[int], torch.Tensor]) -> Iterator[str]:
        """The pieces, token by token. `advance(token)` gives the logits behind one more; it is never called for the last."""
        while not self.answer.finish_reason:
            piece = self.write_token(logits)
            if piece:
                yield piece
            if not self.answer.finish_reason:
                logits = advance(self.answer.token_ids[-1])

    def write_token(self, logits: torch.Tensor) -> str:
        """One more token, from logits as `TokenSampler` takes them; the text that can be shown after it, which may be none.

        Fills the answer, up to its `finish_reason` when this was the last token. Its text is left to the reader.
        """
        answer, ids = self.answer, self.answer.token_ids
        token = self.sampler.sample(logits, ids)
        ids.append(token)
        answer.usage.completion_tokens = len(ids)
        self.on_token()
        if token in self.rules.end_tokens:
            answer.finish_reason = "stop"
            return self.text.finish()
        if self.logprobs:
            answer.logprobs.append(self.logprobs.read(logits, token))
        piece = self.text.push(token)
        if not self.text.stopped_by and (self.text.stopped or self.rules.reached(ids)):
            answer.finish_reason = "stop"
        elif guarded := self.text.stopped_by or self.guards.stopped_by(ids, self.text.decode):
            answer.finish_reason = "guard"
            answer.notices.append(guarded)
            return piece  # what is held back of a loop is more of the loop
        elif len(ids) >= self.limit:
            answer.finish_reason = "length"
        return piece + self.text.finish() if answer.finish_reason else piece
