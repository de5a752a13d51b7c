"""Visual contrastive decoding against made-up objects (VCD, Leng et al. 2023, arXiv 2311.16922, equations 3 and 5).

The model reads the conversation twice: with its pictures, and with the blank one (`blank.py`) in place of each. What it would also have
said without seeing anything counts less. The paper drowns the picture in noise; here it is blank, so that one encoded picture serves
all. Works on logits: where the two rows come from is the engine's business, which computes them in one batch.
"""

import math
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

# Only words at least this likely, beside the likeliest, when the picture is seen: the paper's beta. Without it the contrast would
# raise nonsense that is merely less unlikely with the picture than without.
PLAUSIBLE = 0.1

_OFFSET = 1 << 100  # beyond every token id and picture key


def contrast_keys(keys: Sequence[int]) -> list[int]:
    """Cache keys (`render.Rendered.keys`) of the same conversation read twice: never those of one read once."""
    return [key + _OFFSET if key >= 0 else key - _OFFSET for key in keys]


class VisualContrast(LogitsProcessor):
    """`(2, V)` next-token logits, with the pictures and with blanks, -> `(1, V)`; `(1, V)` stay as they are."""

    def __init__(self, strength: float):
        self._strength = strength

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if scores.shape[0] == 1:
            return scores
        seen, blank = scores
        likeliest = seen.max()
        contrasted = seen + self._strength * (seen - blank)
        plausible = seen >= likeliest + math.log(PLAUSIBLE)
        return torch.where(plausible, contrasted, -torch.inf)[None]
