"""The sign-flip test of paired differences, and the interval that it gives: one says what the other says.

If two losses are equally good, each difference under one seed could as well have the opposite sign. The means of all
subsets of the differences are then "typical values" of the true mean: it lies between any two neighbours of them with
equal probability. Their quantiles are an exact interval for symmetric differences of any shape, and it contains 0 if
and only if the sign-flip test does not reject.

Sources: Fisher, The Design of Experiments 1935 (the test); Hartigan, JASA 1969 (typical values); Dunn, JASA 1961
(intervals for several comparisons at once, by Bonferroni's inequality).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lossearch.results.statistics.intervals import mean

#: Probability of an error in any of the comparisons of a table.
LEVEL = 0.05

#: Most pairs whose subsets are all taken. For more pairs, as many random subsets are, from a fixed seed.
MOST_EXACT, SEED = 14, 0

_CHUNK = 4_096

Verdict = Literal["better", "worse", "no difference shown", "too few seeds"]


@dataclass(frozen=True)
class PairedTest:
    """The mean of paired differences, its interval and p-value, which hold for all comparisons of a table together.

    ``low`` and ``high`` are None if the pairs are too few for an interval: fewer than ``fewest_pairs``.
    """

    pairs: int
    difference: float
    low: float | None
    high: float | None
    p: float  #: two-sided, multiplied by the number of comparisons, at most 1

    @property
    def verdict(self) -> Verdict:
        """What is shown if positive differences are good. The interval decides."""
        if self.low is None or self.high is None:
            return "too few seeds"
        if self.low > 0.0:
            return "better"
        return "worse" if self.high < 0.0 else "no difference shown"


def paired_test(differences: Sequence[float], comparisons: int = 1) -> PairedTest:
    """Test if differences, one for each seed, are centered at zero, as one of ``comparisons`` tests.

    Differences within 1e-12 of zero are zero. Raises ValueError for no differences, or one that is not finite.
    """
    if not differences or not all(math.isfinite(difference) for difference in differences):
        raise ValueError(f"Expected finite differences, one for each seed, got {list(differences)[:5]}.")
    means = _subset_means(np.asarray(differences, np.float64))
    means[np.abs(means) <= 1e-12] = 0.0
    intervals = len(means) + 1  # the means divide the line into so many
    place = math.floor(LEVEL / (2 * comparisons) * intervals)
    low = high = None
    if place:
        ordered = np.partition(means, [place - 1, len(means) - place])
        low, high = float(ordered[place - 1]), float(ordered[len(means) - place])
    beyond = 1 + min(int((means <= 0.0).sum()), int((means >= 0.0).sum()))
    p = min(1.0, 2.0 * comparisons * beyond / intervals)
    return PairedTest(len(differences), mean(differences), low, high, p)


def _subset_means(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each subset but the empty one, or of 2**``MOST_EXACT`` - 1 random ones."""
    if len(differences) > MOST_EXACT:
        return _random_subset_means(differences)
    sums, sizes = np.zeros(1), np.zeros(1)
    for difference in differences:
        sums, sizes = np.concatenate([sums, sums + difference]), np.concatenate([sizes, sizes + 1.0])
    means: NDArray[np.float64] = sums[1:] / sizes[1:]
    return means


def _random_subset_means(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    generator, missing, parts = np.random.default_rng(SEED), 2**MOST_EXACT - 1, []
    while missing:
        members = generator.random((min(_CHUNK, missing), len(differences))) < 0.5
        members = members[members.any(1)]
        parts.append(members @ differences / members.sum(1))
        missing -= len(members)
    return np.concatenate(parts)


def fewest_pairs(comparisons: int) -> int:
    """Return the smallest number of pairs for an interval: six for one comparison, more for several.

    Of n pairs, the most extreme result is that all differences have one sign. Its two-sided p is 2/2**n.
    """
    return math.ceil(math.log2(2.0 * max(1, comparisons) / LEVEL))
