import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossearch.results.statistics.paired_tests import PairedTest, fewest_pairs, paired_test

TEN = [0.012, 0.008, -0.001, 0.02, 0.005, 0.011, 0.003, 0.017, 0.009, 0.014]

DIFFERENCES = st.lists(st.integers(-40, 60).map(lambda value: value / 449.0), min_size=1, max_size=16)


def count_patterns(differences):
    """Count the sign patterns whose mean is at least as extreme as that of the differences, by trying them all."""
    sums = [
        sum(sign * difference for sign, difference in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(abs(total) >= abs(sum(differences)) - 1e-9 for total in sums)


def test_all_positive_differences_have_the_smallest_p_there_is():
    # two of the 2**n sign patterns are as extreme
    assert paired_test([0.01 * k for k in range(1, 11)]).p == pytest.approx(2 / 2**10)
    assert paired_test([0.01 * k for k in range(1, 6)]).p == pytest.approx(2 / 2**5)
    assert paired_test([0.01 * k for k in range(1, 11)], comparisons=14).p == pytest.approx(14 * 2 / 2**10)


@given(st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=9))
def test_the_p_value_counts_sign_patterns(differences):
    assert paired_test(differences).p == pytest.approx(count_patterns(differences) / 2 ** len(differences))


def test_the_p_value_equals_scipys():
    result = stats.permutation_test((np.asarray(TEN),), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert paired_test(TEN).p == pytest.approx(result.pvalue)


@given(DIFFERENCES, st.integers(1, 60))
def test_the_interval_says_what_the_p_value_says(differences, comparisons):
    test = paired_test(differences, comparisons)
    assert (test.low is None) == (len(differences) < fewest_pairs(comparisons)) or len(differences) > 14
    if test.low is not None:
        assert (test.p < 0.05) == (test.low > 0.0 or test.high < 0.0)
        assert test.low <= test.difference + 1e-12
        assert test.high >= test.difference - 1e-12
    else:
        assert test.p >= 0.05


def test_the_interval_by_hand():
    # 2**6 - 1 subset means divide the line into 64 parts; 2.5 % of them is one: the interval ends at the extreme means
    assert paired_test([1.0, 2.0, 3.0, 4.0, 5.0, -0.5]) == PairedTest(6, 14.5 / 6, -0.5, 5.0, 2 * 2 / 64)


def test_the_interval_is_near_students_where_the_differences_are_normal():
    differences = list(np.random.default_rng(1).normal(0.01, 0.02, 40))
    test = paired_test(differences)
    low, high = stats.t.interval(0.95, 39, test.difference, stats.sem(differences))
    assert (test.low, test.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


def test_the_interval_of_a_skewed_and_heavy_tailed_null_holds_the_truth_as_often_as_it_says():
    # differences of two exchangeable values are symmetric, whatever the values are
    values = np.random.default_rng(2).pareto(1.5, (600, 2, 9))
    held = [test.low <= 0.0 <= test.high for test in map(paired_test, (values[:, 0] - values[:, 1]).tolist())]
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 600) <= sum(held) / 600


def test_more_comparisons_widen_the_interval():
    widths = [test.high - test.low for test in (paired_test(TEN, comparisons) for comparisons in (1, 3, 10))]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_a_test_is_reproducible():
    many = [0.01 * (k % 7 - 2) for k in range(40)]
    assert paired_test(many) == paired_test(many)


def test_ties_zeros_and_rounding_are_no_difference():
    assert 0.0 < paired_test([0.01, 0.01, 0.0, 0.01, -0.01, 0.01, 0.01, 0.0, 0.01, 0.01]).p < 0.2
    assert paired_test([0.0] * 8) == PairedTest(8, 0.0, 0.0, 0.0, 1.0)
    dust = paired_test([1e-17, -3e-17, 2e-17, 1e-17, 1e-17, 1e-17, 1e-17])
    assert (dust.low, dust.high, dust.p, dust.verdict) == (0.0, 0.0, 1.0, "no difference shown")
    assert paired_test([0.02]) == PairedTest(1, 0.02, None, None, 1.0)


@pytest.mark.parametrize("differences", [[], [0.1, float("nan")], [float("inf")]])
def test_an_empty_or_infinite_sample_is_refused(differences):
    with pytest.raises(ValueError, match="Expected finite differences"):
        paired_test(differences)


@pytest.mark.parametrize(("comparisons", "fewest"), [(0, 6), (1, 6), (2, 7), (3, 7), (4, 8), (10, 9), (14, 10)])
def test_more_comparisons_need_more_pairs(comparisons, fewest):
    assert fewest_pairs(comparisons) == fewest
    clear = [0.01 * k for k in range(1, fewest + 1)]
    assert paired_test(clear, max(1, comparisons)).verdict == "better"
    assert paired_test(clear[1:], max(1, comparisons)).verdict == "too few seeds"


def test_the_interval_decides():
    assert paired_test([-0.01 * k for k in range(1, 11)]).verdict == "worse"
    assert paired_test([0.01, -0.02] * 5).verdict == "no difference shown"
