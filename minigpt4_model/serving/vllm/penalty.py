"""The repetition penalty as this project means it: over the answer, never over the prompt.

vLLM's own also counts the words of the prompt as used, so that a question about a cat makes "cat" unlikely. A request asks for this one
with `{"vllm_xargs": {"answer_repetition_penalty": 1.05}}`.
"""

from collections.abc import Callable

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

NAME = "answer_repetition_penalty"


class AnswerRepetitionPenalty(AdapterLogitsProcessor):
    """For each request that asks for it: the logits of words already written go down by that factor (Keskar et al. 2019)."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        penalty = (sampling_params.extra_args or {}).get(NAME, 1.0)
        if isinstance(penalty, bool) or not isinstance(penalty, (int, float)) or not 0 < penalty <= 10:
            raise ValueError(f"{NAME} must be a number above 0 and up to 10, not {penalty!r}.")

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(self, params: SamplingParams) -> Callable[[list[int], torch.Tensor], torch.Tensor] | None:
        penalty = float((params.extra_args or {}).get(NAME, 1.0))
        return None if penalty == 1.0 else lambda written, logits: penalize(logits, written, penalty)


def penalize(logits: torch.Tensor, written: list[int], penalty: float) -> torch.Tensor:
    """`logits` `(V,)` with those of the `written` tokens divided by `penalty` where positive, else multiplied by it."""
    if written:
        used = torch.tensor(sorted(set(written)), dtype=torch.long, device=logits.device)
        scores = logits[used]
        logits[used] = torch.where(scores < 0, scores * penalty, scores / penalty)
    return logits
