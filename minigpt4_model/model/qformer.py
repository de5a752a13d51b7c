"""The Q-Former: 32 learned queries read the picture's features, `(B, N, Dv)` -> `(B, 32, Dq)`.

The network is transformers' `Blip2QFormerModel`; this file only says how MiniGPT-4 uses it.
"""

import torch
from transformers import Blip2QFormerModel


def run_qformer(qformer: Blip2QFormerModel, query_tokens: torch.Tensor, image_features: torch.Tensor) -> torch.Tensor:
    """`query_tokens` `(1, Q, Dq)` attend to each other and to `image_features` `(B, N, Dv)`; returns `(B, Q, Dq)`.

    MiniGPT-4 section 3; upstream `MiniGPT4.encode_img`. Every feature may be attended to, so there is no mask.
    """
    queries = query_tokens.expand(image_features.shape[0], -1, -1)
    return qformer(query_embeds=queries, encoder_hidden_states=image_features).last_hidden_state


def join_patches(image_features: torch.Tensor, patches_per_token: int) -> torch.Tensor:
    """The Llama-2 variant's stand-in: drop CLS and join neighbours, `(B, 1 + P, Dv)` -> `(B, P / n, n * Dv)`."""
    patches = image_features[:, 1:]
    batch, count, width = patches.shape
    return patches.reshape(batch, count // patches_per_token, patches_per_token * width)
