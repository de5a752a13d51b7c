"""Figures with their uncertainty: Wilson's interval for shares, the bootstrap for everything else. 95 % throughout.

Wilson's interval (Wilson 1927) holds for small counts and for shares near 0 and 1, where the textbook one fails. The bootstrap
resamples what is independent, the items, and is seeded: the same verdicts give the same interval.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .items import Figure, Judged

_Z = 1.959963984540054  # of the normal distribution, two-sided 95 %
RESAMPLES = 1000


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The interval of a share of `hits` in `count` independent trials; (0, 1) when nothing was tried."""
    if not 0 <= hits <= count:
        raise ValueError(f"{hits} hits of {count} is no share.")
    if not count:
        return 0.0, 1.0
    share, square = hits / count, _Z**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    reach = _Z / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    # The ends of 0 and of all hits are exact, whatever rounding says.
    return (0.0 if hits == 0 else max(0.0, middle - reach)), (1.0 if hits == count else min(1.0, middle + reach))


def bootstrap(rows: np.ndarray, statistic: Callable[[np.ndarray], float], seed: int = 0) -> tuple[float, float]:
    """The interval of `statistic(rows)`; `rows` `(N, ...)` are resampled along the first axis. NaNs are left out."""
    numbers = np.random.default_rng(seed)
    drawn = [statistic(rows[numbers.integers(0, len(rows), len(rows))]) for _ in range(RESAMPLES)] if len(rows) else []
    found = np.array([value for value in drawn if not math.isnan(value)])
    if not len(found):
        return math.nan, math.nan
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def share(name: str, hits: Sequence[bool], **about: Any) -> Figure:
    """The share of true ones, with Wilson's interval."""
    count, right = len(hits), sum(map(bool, hits))
    return Figure(name, right / count if count else math.nan, count, *wilson(right, count), **about)


def mean(name: str, values: Sequence[float], unit: str = "number", **about: Any) -> Figure:
    """The mean of `values`, with the bootstrap's interval."""
    rows = np.asarray(values, float)
    average = float(rows.mean()) if len(rows) else math.nan
    return Figure(name, average, len(rows), *bootstrap(rows, np.mean), unit=unit, **about)


def share_right(name: str, **about: Any) -> Callable[[Sequence[Judged]], list[Figure]]:
    """Folds verdicts into one figure: the share that is right."""
    return lambda judged: [share(name, [one.verdict.right is True for one in judged], **about)]


def share_of(judged: Sequence[Judged], name: str, key: str, **about: Any) -> Figure:
    """The share of true ones among a value of the verdicts; verdicts without it, or with None, do not count."""
    return share(name, [one.verdict.values[key] for one in judged if one.verdict.values.get(key) is not None], **about)
