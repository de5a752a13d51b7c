"""What refining will cost, estimated before anything is sent: tokens, money, time.

Tokens are estimated from characters (four of an English text, fewer of others) and meant to be a little too many.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_ANSWER_SHARE = 1.1  # a correction is about as long as what it corrects
_SECONDS_PER_REQUEST = 3.0


@dataclass(frozen=True)
class Prices:
    """In any currency, for a million tokens; None where nobody said."""

    prompt: float | None = None
    completion: float | None = None

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        if self.prompt is None or self.completion is None:
            return None
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True)
class Estimate:
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    minutes: float

    def __str__(self) -> str:
        money = (
            f"about {self.cost:,.2f} at the given prices" if self.cost is not None else "no prices given (--input-price, --output-price)"
        )
        return (
            f"{self.requests:,} requests, about {self.prompt_tokens:,} tokens to read and {self.completion_tokens:,} to write: "
            f"{money}; about {_duration(self.minutes)} if an answer takes {_SECONDS_PER_REQUEST:g} seconds."
        )


def estimate_cost(
    prompt: str, texts: Sequence[str], prices: Prices, requests_per_minute: float | None = None, concurrency: int = 1
) -> Estimate:
    """Of one request a text, each with `prompt` before it."""
    around = estimate_tokens(prompt) + 10  # the template's own
    tokens = [estimate_tokens(text) for text in texts]
    prompt_tokens, completion_tokens = sum(tokens) + around * len(tokens), math.ceil(sum(tokens) * _ANSWER_SHARE)
    rate = 60 * concurrency / _SECONDS_PER_REQUEST
    rate = min(rate, requests_per_minute) if requests_per_minute else rate
    cost = prices.cost(prompt_tokens, completion_tokens)
    return Estimate(len(texts), prompt_tokens, completion_tokens, cost, len(texts) / rate)


def estimate_tokens(text: str) -> int:
    plain = sum(character.isascii() for character in text)
    return math.ceil(plain / 4 + (len(text) - plain))


def _duration(minutes: float) -> str:
    return f"{max(1, round(minutes))} min" if minutes < 90 else f"{minutes / 60:.1f} h"
