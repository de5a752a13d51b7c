"""How likely each token of an answer was to the model, and which bytes a token stands for.

The likelihoods are those of the logits as the model gives them, before temperature, penalties and guards change the choice.
"""

from typing import Any

import torch

from .backends.base import TokenLogprob
from .writing_systems import bytes_of


class LogprobReader:
    """Reads the log-probabilities of chosen tokens and of the `top` likeliest beside each."""

    def __init__(self, tokenizer: Any, top: int):
        self._tokenizer = tokenizer
        self._top = top

    def read(self, logits: torch.Tensor, token: int) -> TokenLogprob:
        """Of `token`, chosen by `logits` `(V,)`, or `(2, V)` for the visual contrast: the first row is the one with pictures."""
        row = logits.reshape(-1, logits.shape[-1])[0].float().cpu().log_softmax(dim=-1)
        values, ids = row.topk(min(self._top, len(row)))
        top = zip(ids.tolist(), values.tolist(), strict=True)
        return TokenLogprob(
            token_bytes(self._tokenizer, token), float(row[token]), tuple(TokenLogprob(token_bytes(self._tokenizer, i), v) for i, v in top)
        )


def token_bytes(tokenizer: Any, token: int) -> bytes:
    """The bytes of one token, which need not be whole characters."""
    piece = tokenizer.convert_ids_to_tokens(token)
    if piece is None:  # rows of the embedding table beyond the vocabulary
        return b""
    if token in tokenizer.all_special_ids:
        return piece.encode()
    # Byte-level vocabularies have a sign for the line break; sentencepiece has <0x0A>.
    line_break = tokenizer.convert_tokens_to_ids("Ċ")
    return bytes_of(piece, byte_level=line_break is not None and line_break != tokenizer.unk_token_id)
