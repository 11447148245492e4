"""Student's interval, the rule that it decides, and its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossearch.results.statistics.intervals import (
    contains_zero,
    interval,
    interval_of_mean,
    interval_text,
    lacks_interval,
    spread,
)


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=9).filter(lambda values: len(set(values)) > 1))
def test_the_interval_is_scipys_and_it_decides_what_is_worded(values):
    low, high = interval(map(float, values))
    expected = stats.t.interval(0.95, len(values) - 1, sum(values) / len(values), stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=1e-9)
    p = float(stats.ttest_1samp(values, 0.0).pvalue)
    assert contains_zero(low, high) == (p >= 0.05) or abs(p - 0.05) < 1e-9


@pytest.mark.parametrize("values", [[], [0.1], [0.1, 0.3], [0.2, 0.2, 0.2]])
def test_few_or_equal_values_have_no_interval(values):
    assert interval(values) is None
    assert interval_of_mean(0.2, spread(values), len(values)) is None


def test_why_there_is_no_interval_is_said_in_words():
    texts = ["one seed: no interval", "two seeds: no interval", "no interval: equal under all 6 seeds"]
    assert [lacks_interval(samples) for samples in (1, 2, 6)] == texts


def test_an_end_that_is_not_0_is_not_shown_as_0():
    assert interval_text(-0.0008, 0.0095) == "-0.0008 to +0.0095"
    assert interval_text(0.00003, 0.0095) == "+3e-05 to +0.0095"
    assert interval_text(-0.01, 0.0) == "-0.0100 to +0.0000"
    assert interval_text(None, 0.1) == ""


def test_an_end_that_is_zero_but_for_rounding_is_zero():
    assert interval_text(-0.0078, 1e-17) == interval_text(-0.0078, -1e-17) == "-0.0078 to +0.0000"
    assert contains_zero(-0.0078, -1e-17)
    assert contains_zero(1e-17, 0.0078)
    assert not contains_zero(1e-9, 0.0078)
