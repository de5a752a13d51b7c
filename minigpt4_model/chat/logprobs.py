"""How likely each token of an answer was to the model, and which bytes a token stands for.

The likelihoods are those of the logits as the model gives them, before temperature, penalties and guards change the choice.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from .backends.base import TokenLogprob

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


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
    """The bytes of one token, which need not be whole characters: byte-level BPE and sentencepiece write them in signs of their own."""
    piece = tokenizer.convert_ids_to_tokens(token)
    if piece is None:
        return b""
    if token in tokenizer.all_special_ids:
        return piece.encode()
    if written := _BYTE_TOKEN.fullmatch(piece):
        return bytes([int(written[1], 16)])
    signs = _byte_level_signs()
    if _is_byte_level(tokenizer) and all(sign in signs for sign in piece):
        return bytes(signs[sign] for sign in piece)
    return piece.replace("▁", " ").encode()


def _is_byte_level(tokenizer: Any) -> bool:
    """Whether a line break is written as byte-level BPE writes it; sentencepiece has `<0x0A>`."""
    vocabulary = tokenizer.convert_tokens_to_ids("Ċ")
    return vocabulary is not None and vocabulary != tokenizer.unk_token_id


@cache
def _byte_level_signs() -> Mapping[str, int]:
    """GPT-2's printable signs for bytes: those that print stand for themselves, the others follow from U+0100 on."""
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printing]
    return {**{chr(byte): byte for byte in printing}, **{chr(256 + index): byte for index, byte in enumerate(others)}}
