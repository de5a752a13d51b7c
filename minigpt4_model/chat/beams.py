"""Beam search, by transformers' `generate`: the whole answer at once, with the settings and guards that sampling has.

Knows nothing of caches, threads or pictures. The visual contrast is not among them: each beam would need its own second reading.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from ..model import MiniGPT4ForConditionalGeneration
from .backends.base import Answer
from .decoding import StopRules, build_logits_processors
from .guards import Guards
from .settings import GenerationSettings
from .templates import ChatTemplate


class StopWhen(StoppingCriteria):
    """A beam ends when its ids reach a stop or a guard ends them; all end when `cancelled()`."""

    def __init__(self, rules: StopRules, guards: Guards, decode: Callable[[Sequence[int]], str], cancelled: Callable[[], bool]):
        self._rules = rules
        self._decode = decode
        self._guards = guards
        self._cancelled = cancelled

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs) -> torch.Tensor:
        cancelled = self._cancelled()
        ended = [cancelled or self._rules.reached(row) or bool(self._guards.stopped_by(row, self._decode)) for row in input_ids.tolist()]
        return torch.tensor(ended, dtype=torch.bool, device=input_ids.device)


def search_beams(
    model: MiniGPT4ForConditionalGeneration,
    embeds: torch.Tensor,
    settings: GenerationSettings,
    seed: int,
    *,
    max_new_tokens: int,
    first_ids: list[int],
    rules: StopRules,
    guards: Guards,
    decode: Callable[[Sequence[int]], str],
    cancelled: Callable[[], bool],
) -> list[int]:
    """The ids of the best beam behind the prompt `embeds` `(1, L, D)`, its padding included. The program's own random state stays."""
    ends = sorted(rules.end_tokens)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        num_beams=settings.num_beams,
        do_sample=not settings.greedy,
        # All of `settings` is in the processors below.
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        eos_token_id=ends,
        pad_token_id=ends[0],
    )
    gpus = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        rows = model.generate(
            inputs_embeds=embeds,
            generation_config=config,
            logits_processor=build_logits_processors(replace(settings, visual_contrast=0.0), first_ids, guards),
            stopping_criteria=StoppingCriteriaList([StopWhen(rules, guards, decode, cancelled)]),
        )
    return rows[0].tolist()


def finish_answer(answer: Answer, ids: list[int], tokenizer: Any, template: ChatTemplate, rules: StopRules, guards: Guards) -> str:
    """Fills `answer` from a whole beam, cut at its first stop and by the guards; its text."""
    end = next((n for n in range(1, len(ids) + 1) if rules.reached(ids[:n])), None)
    answer.token_ids += ids[:end]
    answer.usage.completion_tokens = len(answer.token_ids)
    text = template.cut_answer(tokenizer.decode(answer.token_ids, skip_special_tokens=True).replace("\ufffd", ""))
    cut, guarded = guards.find(text, started=False)
    guarded = guarded or ("" if end else guards.stopped_by(answer.token_ids, tokenizer.decode))
    answer.finish_reason = "guard" if guarded else "stop" if end else "length"
    answer.notices += [guarded] if guarded else []
    return text[:cut].rstrip() if cut >= 0 else text
