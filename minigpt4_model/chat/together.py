"""Answering several conversations side by side, for who wants all of them and none at once: describing thousands of pictures.

Says what `Engine.answer` says to each alone, within float error where nothing is drawn by chance. Streams nothing and keeps no
key-value cache; pictures are encoded once and remembered, as always.
"""

import os
import time
from collections.abc import Callable, Sequence

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from .backends.base import Answer
from .decoding import StopWhen, TextAssembler, build_logits_processors, is_looping
from .engine import Engine
from .messages import load_conversation
from .render import fit_to_context
from .settings import GenerationSettings


def answer_together(
    engine: Engine,
    conversations: Sequence[list[dict]],
    settings: GenerationSettings | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Answer]:
    """The answer to each of `conversations`, in their order. The seed of `settings` is that of the whole batch.

    Raises what `Engine.answer` raises, if any of the conversations is at fault; where `cancelled()` comes true, answers end early.
    """
    start = time.perf_counter()
    settings = settings or engine.description.settings
    context = engine.description.context_length
    answers, prompts = [], []
    for messages in conversations:
        turns, notice = fit_to_context(load_conversation(messages), engine.render, context - min(settings.max_new_tokens, context // 4))
        rendered, answer = engine.render(turns), Answer()
        answer.notices += filter(None, [notice, *(picture.notice for picture in turns[-1].pictures)])
        answer.usage.prompt_tokens = len(rendered.input_ids)
        answer.usage.image_tokens = sum(key < 0 for key in rendered.keys)
        prompts.append(engine._embed(rendered, 0, answer, cancelled)[0])
        answers.append(answer)
    limit = min(settings.max_new_tokens, context - max(map(len, prompts)))
    rows = _generate(engine, prompts, settings, limit, cancelled)
    seconds = time.perf_counter() - start
    for answer, ids in zip(answers, rows, strict=True):
        _finish(answer, ids, engine, limit, cancelled())
        answer.timings.decode_s = seconds
    return answers


def _generate(
    engine: Engine, prompts: list[torch.Tensor], settings: GenerationSettings, limit: int, cancelled: Callable[[], bool]
) -> list[list[int]]:
    """New ids of each row, with whatever follows its end."""
    ends = sorted(engine._stop_rules.end_tokens)
    config = GenerationConfig(
        max_new_tokens=limit,
        num_beams=settings.num_beams,
        do_sample=not settings.greedy,
        eos_token_id=ends,
        pad_token_id=ends[0],
        # All of `settings` is in the processors below; greedily, transformers wants to hear nothing of these.
        **({} if settings.greedy else {"temperature": 1.0, "top_k": 0, "top_p": 1.0}),
    )
    longest = max(map(len, prompts))
    with engine._computing(cancelled) as model, torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(settings.seed if settings.seed is not None else int.from_bytes(os.urandom(8), "big") >> 1)
        # Padding stands on the left, so that every row's first new token follows its prompt.
        embeds = torch.stack([torch.cat([prompt.new_zeros(longest - len(prompt), prompt.shape[1]), prompt]) for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
        ids = model.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            generation_config=config,
            logits_processor=LogitsProcessorList(build_logits_processors(settings, engine._penalized_first)),
            stopping_criteria=StoppingCriteriaList([StopWhen(engine._stop_rules, cancelled), _StopLoops()]),
        )
    return ids.tolist()


class _StopLoops(StoppingCriteria):
    """A row ends when it repeats itself for good."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs) -> torch.Tensor:
        return torch.tensor([is_looping(row) for row in input_ids.tolist()], dtype=torch.bool, device=input_ids.device)


def _finish(answer: Answer, ids: list[int], engine: Engine, limit: int, cancelled: bool) -> None:
    """Fills `answer` with a row's ids up to its end, as `Engine` does token by token."""
    text = TextAssembler(engine.tokenizer, engine.template)
    answer.finish_reason = "cancelled" if cancelled else "length"
    for token in ids[:limit]:
        answer.token_ids.append(token)
        if token in engine._stop_rules.end_tokens:
            answer.finish_reason = "stop"
            break
        answer.text += text.push(token)
        if text.stopped or engine._stop_rules.reached(answer.token_ids):
            answer.finish_reason = "stop"
            break
        if is_looping(answer.token_ids):
            answer.finish_reason = "guard"
            break
    answer.usage.completion_tokens = len(answer.token_ids)
    if answer.finish_reason != "guard":
        answer.text += text.finish()
