"""What is measured of one answer, whoever gave it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """Seconds for the picture and until the first token. `tokens_per_s` counts what follows the first token."""

    encode_s: float
    ttft_s: float
    tokens: int
    tokens_per_s: float
    text: str = ""
