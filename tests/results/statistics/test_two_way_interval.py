import numpy as np
import pytest
from scipy.stats import binom

from lossearch.results.statistics.paired_values import two_way_interval


def test_if_all_seeds_agree_only_samples_are_uncertain():
    # ours alone predicts 12 of 100 samples correctly, under every seed: the share of a resample is binomial
    ours = np.zeros((10, 100))
    ours[:, :12] = 1.0
    low, high = two_way_interval(ours, np.zeros((10, 100)))
    assert (low, high) == pytest.approx(binom.ppf([0.025, 0.975], 100, 0.12) / 100, abs=1.01 / 100)  # to one sample


def test_if_all_samples_agree_only_seeds_are_uncertain():
    ours = np.repeat(np.array([[1.0]] * 3 + [[0.0]] * 7), 50, axis=1)
    low, high = two_way_interval(ours, np.zeros((10, 50)))
    assert (low, high) == pytest.approx(binom.ppf([0.025, 0.975], 10, 0.3) / 10, abs=1.01 / 10)  # to one seed


def test_swapping_the_losses_negates_the_interval():
    generator = np.random.default_rng(0)
    ours, theirs = generator.integers(0, 2, (2, 8, 40)).astype(float)
    low, high = two_way_interval(ours, theirs)
    assert two_way_interval(theirs, ours) == (pytest.approx(-high), pytest.approx(-low))


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        two_way_interval(np.zeros((3, 4)), np.zeros((3, 5)))
