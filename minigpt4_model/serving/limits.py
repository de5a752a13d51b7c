"""How much a visitor may ask of this server. The limits are flags, environment variables (for a Space) and nothing else.

`Limits` says how much, `RateLimit` counts. Knows nothing of pages, requests and answers.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, fields


def _limit(default: float, info: str, minimum: float = 0):
    return field(default=default, metadata={"info": info, "minimum": minimum})


@dataclass(frozen=True)
class Limits:
    """What this server allows. 0 means no limit where the text says so."""

    questions_per_minute: int = _limit(0, "questions that one address may ask in a minute, page and API together; 0: no limit")
    max_file_mb: int = _limit(20, "largest picture file that may be uploaded, in megabytes", 1)
    max_questions: int = _limit(0, "questions in one conversation; 0: no limit")
    max_answer_tokens: int = _limit(0, "longest answer that may be asked for, in tokens; 0: what the model has room for")
    max_conversations: int = _limit(1000, "conversations kept at once; the one that was not used for longest goes first", 1)
    max_waiting: int = _limit(64, "questions waiting for their turn; further ones are told to come again", 1)
    keep_hours: float = _limit(24.0, "hours after which uploads and unused conversations are deleted", 0.01)

    def __post_init__(self):
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not (math.isfinite(value) and value >= limit.metadata["minimum"]):
                flag = "--" + limit.name.replace("_", "-")
                raise ValueError(f"{flag} {value}: must be at least {limit.metadata['minimum']:g}.")


class RateLimit:
    """At most `per_minute` a minute for each name, at first all at once: a bucket that fills up again evenly. 0 is no limit.

    Safe to use from several threads. Only the `remembered` names that asked last are known; a full bucket need not be.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic, remembered: int = 100_000):
        self.per_minute = per_minute
        self._clock = clock
        self._remembered = remembered
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what was left, and when
        self._lock = threading.Lock()

    def take(self, name: str) -> float:
        """Take one for `name`. Gives 0.0, or the seconds after which there is one again; then nothing is taken."""
        if not self.per_minute:
            return 0.0
        now, refill = self._clock(), self.per_minute / 60
        with self._lock:
            left, when = self._buckets.pop(name, (self.per_minute, now))
            left = min(self.per_minute, left + (now - when) * refill)
            wait = 0.0 if left >= 1 else (1 - left) / refill
            self._buckets[name] = (left if wait else left - 1, now)
            while len(self._buckets) > self._remembered:
                self._buckets.popitem(last=False)
        return wait

    def refusal(self, wait: float, what: str = "questions") -> str:
        """The sentence for somebody who has to wait."""
        return f"Only {self.per_minute:g} {what} a minute are taken from one visitor. Try again in {math.ceil(wait)} s."
