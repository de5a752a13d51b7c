"""Which attention the Q-Former and the LLM compute with while they train."""

import torch
from torch import nn

from ..model import MiniGPT4ForConditionalGeneration  # before transformers' models: it defines ops that torchvision lacks

# isort: split
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

EXPLICIT = "explicit_fp32"


def suit_attention(model: MiniGPT4ForConditionalGeneration, device: torch.device) -> None:
    """Explicit matrix products on a CPU, the fused kernel elsewhere.

    On a CPU the fused kernel's backward pass is slow: a pocket step through the LLM takes 1.25 times as long with it, and one
    through the Q-Former up to twice.
    """
    on_cpu = device.type == "cpu"
    set_attention(model, EXPLICIT if on_cpu else "sdpa", "eager" if on_cpu else "sdpa")


def set_attention(model: MiniGPT4ForConditionalGeneration, language_model: str, qformer: str) -> None:
    """By transformers' names of implementations."""
    model.model.language_model.set_attn_implementation(language_model)
    if model.model.qformer is not None:
        model.model.qformer.set_attn_implementation(qformer)


def explicit_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **kwargs,
) -> tuple[torch.Tensor, None]:
    """Attention as its formula says, in fp32: `(B, H, L, D)` and `(B, G, K, D)` with G dividing H -> `(B, L, H, D)`.

    The LLM's matrices are 16 bit; scores are not, because transformers' "eager", which rounds them too, doubles the rounding
    error of the projection's gradient.
    """
    with torch.autocast(query.device.type, enabled=False):
        batch, heads, length, width = query.shape
        groups = key.shape[1]
        # The heads that share keys are rows of one product, so that keys need not be copied for each.
        asked = query.float().reshape(batch, groups, heads // groups * length, width)
        scores = (asked @ key.float().transpose(2, 3) * scaling).view(batch, heads, length, -1)
        if attention_mask is not None:
            scores = scores + attention_mask
        weights = scores.softmax(-1).view(batch, groups, heads // groups * length, -1)
        mixed = (weights @ value.float()).view(batch, heads, length, width)
    return mixed.transpose(1, 2).to(query.dtype).contiguous(), None


AttentionInterface.register(EXPLICIT, explicit_attention)
AttentionMaskInterface.register(EXPLICIT, eager_mask)
