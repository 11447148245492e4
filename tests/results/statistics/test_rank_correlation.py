"""Kendall's tau-b and its bootstrap interval, against scipy's and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from lossearch.results.statistics import rank_correlation
from lossearch.results.statistics.rank_correlation import tau_b, tau_b_interval

RANKS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30)


def columns(pairs):
    return [float(ours) for ours, _ in pairs], [float(theirs) for _, theirs in pairs]


def test_tau_of_a_small_example_by_hand():
    """Of six pairs four agree and one does not; only the second ranking ties the last: 3 / sqrt(6 * 5)."""
    assert tau_b([1, 2, 3, 4], [1, 3, 2, 3]) == pytest.approx(3 / np.sqrt(30))


@given(RANKS)
def test_tau_equals_scipys(pairs):
    expected = kendalltau(*columns(pairs)).statistic
    tau = tau_b(*columns(pairs))
    assert tau is None if np.isnan(expected) else tau == pytest.approx(expected)


@given(RANKS)
def test_tau_is_symmetric_and_changes_sign_with_a_reversed_ranking(pairs):
    ours, theirs = columns(pairs)
    tau = tau_b(ours, theirs)
    assert tau_b(theirs, ours) == (None if tau is None else pytest.approx(tau))
    assert tau_b([-value for value in ours], theirs) == (None if tau is None else pytest.approx(-tau))


def test_tau_is_undefined_if_one_ranking_ties_everything():
    assert tau_b([1.0] * 12, list(range(12))) is None
    assert tau_b_interval([1.0] * 12, list(range(12)), np.random.default_rng(0)) is None
    assert tau_b([], []) is None
    assert tau_b([1.0], [2.0]) is None


def test_the_interval_equals_that_of_scipys_tau_over_resampled_things(monkeypatch):
    monkeypatch.setattr(rank_correlation, "RESAMPLES", 300)
    ours, theirs = [3, 1, 2, 2, 5, 4, 7, 7, 9, 0], [1, 2, 2, 3, 5, 4, 9, 6, 7, 0]
    limits = tau_b_interval(ours, theirs, np.random.default_rng(5))
    counts = np.random.default_rng(5).multinomial(10, [0.1] * 10, size=300)
    drawn = [kendalltau(np.repeat(ours, row), np.repeat(theirs, row)).statistic for row in counts]
    assert limits == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert limits[0] < tau_b(ours, theirs) < limits[1]


def test_the_interval_depends_only_on_its_generator():
    ours, theirs = list(range(12)), [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10]
    intervals = [tau_b_interval(ours, theirs, np.random.default_rng(1)) for _ in range(2)]
    assert intervals[0] == intervals[1]


def test_rankings_that_agree_have_no_interval_below_one():
    assert tau_b_interval(list(range(10)), list(range(10)), np.random.default_rng(0)) == pytest.approx((1.0, 1.0))
