"""The Q-Former: 32 learned queries read the picture's features, `(B, N, Dv)` -> `(B, 32, Dq)`.

The network is transformers' `Blip2QFormerModel`; this file only says how MiniGPT-4 uses it.
"""

from dataclasses import dataclass
from functools import partial

import torch
from transformers import Blip2QFormerModel


def run_qformer(qformer: Blip2QFormerModel, query_tokens: torch.Tensor, image_features: torch.Tensor) -> torch.Tensor:
    """`query_tokens` `(1, Q, Dq)` attend to each other and to `image_features` `(B, N, Dv)`; returns `(B, Q, Dq)`.

    MiniGPT-4 section 3; upstream `MiniGPT4.encode_img`. Every feature may be attended to, so there is no mask.
    """
    queries = query_tokens.expand(image_features.shape[0], -1, -1)
    return qformer(query_embeds=queries, encoder_hidden_states=image_features).last_hidden_state


@dataclass(frozen=True)
class CrossAttention:
    """What the queries took from the features, in each of the layers that read the picture.

    `weights` `(B, layers, heads, Q, N)` are the attention weights; every row of N sums to 1. `passed_on` `(B, layers, Q, N)` is the length
    of the vector that a feature added to a query by them (Kobayashi et al. 2020, "Attention is not only a weight"): attention often
    rests where it takes in next to nothing.
    """

    weights: torch.Tensor
    passed_on: torch.Tensor


def read_cross_attention(qformer: Blip2QFormerModel, query_tokens: torch.Tensor, image_features: torch.Tensor) -> CrossAttention:
    """The cross-attention of `run_qformer` on `image_features` `(B, N, Dv)`.

    Kernels that compute attention fast keep no weights, so these are computed a second time from what goes into each layer, in the
    Q-Former's own precision: the same numbers, whichever kernel runs.
    """
    weights, passed_on = [], []

    def note(attention: torch.nn.Module, args: tuple, inputs: dict, *, output: torch.nn.Linear) -> None:
        def by_head(states: torch.Tensor) -> torch.Tensor:
            return states.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)  # (B, heads, n, d)

        features = inputs["encoder_hidden_states"]
        queries, keys, values = map(by_head, (attention.query(inputs["hidden_states"]), attention.key(features), attention.value(features)))
        shares = (queries @ keys.transpose(-1, -2) * attention.scaling).softmax(-1)
        by_output = output.weight.unflatten(1, (attention.num_attention_heads, -1))  # (Dq, heads, d)
        offered = torch.einsum("bhnd,ohd->bhno", values, by_output)
        # The length of the sum over heads, from the heads' products: the vectors themselves would be (B, Q, N, Dq).
        products = torch.einsum("bhno,bgno->bnhg", offered, offered)
        squares = torch.einsum("bhqn,bnhg,bgqn->bqn", shares, products, shares)
        weights.append(shares)
        passed_on.append(squares.clamp_min(0).sqrt())

    layers = [layer.crossattention for layer in qformer.encoder.layer if layer.has_cross_attention]
    hooks = [layer.attention.register_forward_pre_hook(partial(note, output=layer.output.dense), with_kwargs=True) for layer in layers]
    try:
        run_qformer(qformer, query_tokens, image_features)
    finally:
        for hook in hooks:
            hook.remove()
    return CrossAttention(torch.stack(weights, dim=1), torch.stack(passed_on, dim=1))


def join_patches(image_features: torch.Tensor, patches_per_token: int) -> torch.Tensor:
    """The Llama-2 variant's stand-in: drop CLS and join neighbours, `(B, 1 + P, Dv)` -> `(B, P / n, n * Dv)`."""
    patches = image_features[:, 1:]
    batch, count, width = patches.shape
    return patches.reshape(batch, count // patches_per_token, patches_per_token * width)
