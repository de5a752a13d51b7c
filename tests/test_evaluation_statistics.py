"""Intervals: against known values, and that they cover what they should."""

import math

import numpy as np
import pytest

from minigpt4_model.evaluation.statistics import bootstrap, mean, share, wilson


# R: binom::binom.confint(x, n, methods = "wilson")
@pytest.mark.parametrize(
    ("hits", "count", "low", "high"), [(10, 20, 0.2993, 0.7007), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 30, 0.0059, 0.1667)]
)
def test_wilson_agrees_with_published_values(hits, count, low, high):
    assert wilson(hits, count) == pytest.approx((low, high), abs=2e-4)


def test_wilson_of_nothing_is_everything():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 hits of 2"):
        wilson(3, 2)


def test_bootstrap_of_a_mean_is_near_the_normal_one_and_the_same_each_time():
    rows = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrap(rows, np.mean)
    reach = 1.96 * rows.std() / math.sqrt(len(rows))
    assert (low, high) == pytest.approx((rows.mean() - reach, rows.mean() + reach), abs=0.04)
    assert bootstrap(rows, np.mean) == (low, high)


def test_figures_carry_their_counts_and_survive_no_judgement():
    some, none = share("right", [True, False, True]), share("right", [])
    assert (some.value, some.count) == (pytest.approx(2 / 3), 3) and some.low < some.value < some.high
    assert math.isnan(none.value) and none.count == 0
    assert mean("score", [1.0, 2.0]).value == 1.5 and math.isnan(mean("score", []).value)
