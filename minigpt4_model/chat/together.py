"""Answering several conversations side by side, for who wants all of them and none at once: describing thousands of pictures.

Says what `Engine.answer` says to each alone, within float error, with all its settings and guards. Streams nothing and keeps no
key-value cache; pictures are encoded once and remembered, as always. Takes no seat among the engine's answers: how many conversations
the memory has room for is the caller's business. An engine that shares its steps anyway is simply asked from several threads.
"""

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache

from .asked import Asked
from .backends.base import Answer
from .decoding import AnswerWriter
from .engine import PREFILL_CHUNK, Engine
from .settings import GenerationSettings


def answer_together(engine: Engine, conversations: Sequence[list[dict]], settings: GenerationSettings | None = None) -> list[Answer]:
    """The answer to each of `conversations`, in their order. The seed of `settings` is that of the first; each next has one more.

    Beams are searched one conversation after the other. Raises what `Engine.answer` raises, if any of the conversations is at fault.
    """
    settings = settings or engine.description.settings
    each = [seeded(settings, number) for number in range(len(conversations))]
    if settings.num_beams > 1:
        return [engine.answer(messages, its) for messages, its in zip(conversations, each, strict=True)]
    if engine.shares_steps:
        with ThreadPoolExecutor(max(1, len(conversations))) as threads:
            return list(threads.map(engine.answer, conversations, each))
    asked = [engine.ask(messages, its) for messages, its in zip(conversations, each, strict=True)]
    rows = [_open(engine, one) for one in asked]
    if rows:
        _write(engine, rows)
    return [row.answer for row in rows]


def seeded(settings: GenerationSettings, number: int) -> GenerationSettings:
    """The settings of conversation `number`, from 0, among several: each draws for itself, and the same again."""
    return settings if settings.seed is None else dataclasses.replace(settings, seed=(settings.seed + number) % 2**63)


@dataclass(frozen=True, eq=False)
class _Row:
    """One conversation in the batch; for the visual contrast it stands there twice. `prompt` is `(R, L, D)`, R 1 or 2."""

    answer: Answer
    writer: AnswerWriter
    prompt: torch.Tensor

    @property
    def places(self) -> int:
        return self.prompt.shape[0]


def _open(engine: Engine, asked: Asked) -> _Row:
    answer = Answer()
    asked.open(answer)
    return _Row(answer, engine.build_writer(asked, answer), engine.embed(asked, answer))


@dataclass(eq=False)
class _Batch:
    """What was read so far: `mask` `(R, L)` is 0 where a shorter prompt was padded, which is on its left, so that every first new token
    follows its prompt."""

    engine: Engine
    mask: torch.Tensor
    cache: DynamicCache = field(default_factory=DynamicCache)

    def read(self, length: int, **inputs: torch.Tensor) -> torch.Tensor:
        """Reads `inputs` up to position `length` of the mask; logits behind it `(R, V)`."""
        mask = self.mask[:, :length]
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, self.cache.get_seq_length() :]
        with self.engine.computing() as model:
            return model(
                **inputs, attention_mask=mask, position_ids=places, past_key_values=self.cache, use_cache=True, logits_to_keep=1
            ).logits[:, -1]

    def keep(self, rows: list[int]) -> None:
        """Forgets all rows but these."""
        chosen = torch.tensor(rows, device=self.mask.device)
        self.mask = self.mask[chosen]
        self.cache.batch_select_indices(chosen)

    def grow(self) -> int:
        """One more position in every row; the length with it."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        return self.mask.shape[1]


def _write(engine: Engine, rows: list[_Row]) -> None:
    """Fills the rows' answers, a token of each at a time; who is done leaves the batch."""
    device = rows[0].prompt.device
    longest = max(row.prompt.shape[1] for row in rows)
    missing = [longest - row.prompt.shape[1] for row in rows for _ in range(row.places)]
    embeds = torch.cat([torch.nn.functional.pad(row.prompt, (0, 0, longest - row.prompt.shape[1], 0)) for row in rows])
    batch = _Batch(engine, torch.tensor([[0] * pad + [1] * (longest - pad) for pad in missing], device=device))
    for first in range(0, longest, PREFILL_CHUNK):
        last = min(first + PREFILL_CHUNK, longest)
        logits = batch.read(last, inputs_embeds=embeds[:, first:last])
    while True:
        for row, its in zip(rows, logits.split([row.places for row in rows]), strict=True):
            row.answer.text += row.writer.write_token(its)
        going = [not row.answer.finish_reason for row in rows for _ in range(row.places)]
        rows = [row for row in rows if not row.answer.finish_reason]
        if not rows:
            return
        if not all(going):
            batch.keep([place for place, goes in enumerate(going) if goes])
        tokens = [[row.answer.token_ids[-1]] for row in rows for _ in range(row.places)]
        logits = batch.read(batch.grow(), input_ids=torch.tensor(tokens, device=device))
