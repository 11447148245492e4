"""The sentence of a fresh-seed test: its words follow from the interval that it prints."""

import pytest

from lossearch.results.storage.fresh_seed_test import FreshSeedTest


def sentence(difference, deviation, seeds=6):
    return FreshSeedTest(0.9 + difference, 0.9, difference, deviation, seeds).sentence()


def test_between_two_standard_errors_and_the_interval_no_difference_is_shown():
    # standard error .002: 2.2 of them are more than two, and less than t(0.975, 5) = 2.571
    text = sentence(0.0044, 0.002 * 6**0.5)
    assert "95 % interval -0.0007 to +0.0095, under 6 fresh seeds; no difference is shown" in text
    assert "no difference" not in sentence(0.0054, 0.002 * 6**0.5)


@pytest.mark.parametrize(
    ("difference", "deviation", "seeds", "words"),
    [
        (0.01, 0.001, 2, "difference +0.0100, under 2 fresh seeds (two seeds: no interval)"),
        (0.01, 0.0, 6, "under 6 fresh seeds (no interval: equal under all 6 seeds)"),
        (0.0, 0.0, 6, "(no interval: equal under all 6 seeds); no difference is shown"),
    ],
)
def test_without_an_interval_none_is_printed(difference, deviation, seeds, words):
    text = sentence(difference, deviation, seeds)
    assert text.endswith(words)
    assert "95 %" not in text
    assert "standard error" not in text
