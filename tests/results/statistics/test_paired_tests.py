import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossearch.results.statistics.paired_tests import PairedTest, effect_size, holm, paired_test, verdict

TEN = [0.012, 0.008, -0.001, 0.02, 0.005, 0.011, 0.003, 0.017, 0.009, 0.014]


def test_all_positive_differences_have_the_smallest_p_there_is():
    # two of the 2**n sign patterns are as extreme: 2/2**10, and 2/2**5 with five, which can never be below .05
    assert paired_test([0.01 * k for k in range(1, 11)]).p_wilcoxon == pytest.approx(2 / 2**10)
    assert paired_test([0.01 * k for k in range(1, 11)]).p_permutation == pytest.approx(2 / 2**10)
    assert paired_test([0.01 * k for k in range(1, 6)]).p_wilcoxon == pytest.approx(0.0625)


def test_the_permutation_test_counts_sign_patterns():
    extreme = sum(
        abs(sum(sign * difference for sign, difference in zip(signs, TEN, strict=True))) >= abs(sum(TEN)) - 1e-12
        for signs in itertools.product((1, -1), repeat=10)
    )
    assert paired_test(TEN).p_permutation == pytest.approx(extreme / 2**10)


def test_wilcoxons_rank_sums_by_hand():
    # ranks of |d| 1 2 3 4 5 6, the negative one has rank 2: W- = 2; {} {1} {2} have a sum of at most 2: p = 2*3/2**6
    assert paired_test([0.1, -0.2, 0.3, 0.4, 0.5, 0.6]).p_wilcoxon == pytest.approx(6 / 64)


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9).filter(any))
def test_wilcoxons_p_counts_all_sign_patterns_if_differences_tie(differences):
    moved = [float(difference) for difference in differences if difference]
    ranks = stats.rankdata([abs(difference) for difference in moved])
    sums = [
        sum(r for r, up in zip(ranks, signs, strict=True) if up)
        for signs in itertools.product((0, 1), repeat=len(moved))
    ]
    reached = sum(rank for rank, difference in zip(ranks, moved, strict=True) if difference > 0)
    tail = min(sum(total <= reached for total in sums), sum(total >= reached for total in sums)) / len(sums)
    assert paired_test([float(difference) for difference in differences]).p_wilcoxon == pytest.approx(
        min(1.0, 2 * tail)
    )


@given(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=60, unique_by=lambda value: round(abs(value), 6)))
def test_wilcoxons_p_equals_scipys_without_ties(differences):
    moved = [difference for difference in differences if abs(difference) > 1e-6] or [1.0]
    if len(moved) > 1:
        assert paired_test(moved).p_wilcoxon == pytest.approx(stats.wilcoxon(moved, method="exact").pvalue)


def test_the_p_of_very_many_pairs_is_asymptotic():
    many = [0.01 * (k % 7 - 2) + 0.0001 * k for k in range(1, 302)]
    assert paired_test(many).p_wilcoxon == pytest.approx(stats.wilcoxon(many, method="asymptotic").pvalue, rel=1e-6)


def test_the_interval_holds_the_mean_and_equals_scipys():
    test = paired_test(TEN)
    assert test.low < test.difference < test.high
    low, high = stats.t.interval(0.95, 9, test.difference, stats.sem(TEN))
    assert (test.low, test.high) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))


def test_a_test_is_reproducible():
    assert paired_test(TEN) == paired_test(TEN)


def test_ties_and_zeros_are_allowed():
    test = paired_test([0.01, 0.01, 0.0, 0.01, -0.01, 0.01, 0.01, 0.0, 0.01, 0.01])
    assert 0.0 < test.p_wilcoxon < 0.2
    assert paired_test([0.0] * 8) == PairedTest(8, 0.0, 0.0, 0.0, 1.0, 1.0)
    assert paired_test([0.02]) == PairedTest(1, 0.02, None, None, None, None)


@pytest.mark.parametrize("differences", [[], [0.1, float("nan")], [float("inf")]])
def test_an_empty_or_infinite_sample_is_refused(differences):
    with pytest.raises(ValueError, match="Expected finite differences"):
        paired_test(differences)


def test_holms_correction_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1, never falling: .04 .06 .06 .06
    assert holm([0.02, 0.01, 0.04, 0.03]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_corrected_p_values_keep_the_order_and_never_fall(p_values):
    corrected = holm(p_values)
    assert all(low <= high <= 1.0 for low, high in zip(p_values, corrected, strict=True))
    ranked = [corrected[place] for place in sorted(range(len(p_values)), key=lambda place: p_values[place])]
    assert ranked == sorted(ranked)


def test_a_winner_needs_six_seeds_an_interval_and_a_p():
    clear = paired_test([0.01 * k for k in range(1, 11)])
    assert verdict(clear, 0.01) == "better"
    assert verdict(paired_test([-0.01 * k for k in range(1, 11)]), 0.01) == "worse"
    assert verdict(clear, 0.2) == "no difference shown"
    assert verdict(PairedTest(10, 0.1, -0.1, 0.3, 0.01, 0.01), 0.01) == "no difference shown"
    assert verdict(paired_test([0.01 * k for k in range(1, 6)]), 0.01) == "too few seeds"
    assert verdict(paired_test([0.1]), None) == "too few seeds"


def test_the_effect_size_is_in_standard_deviations():
    assert effect_size([1.0, 2.0, 3.0]) == pytest.approx(2.0)
    assert effect_size([1.0, 1.0]) is None
    assert effect_size([1.0]) is None
