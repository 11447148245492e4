"""Paired tests of two losses, from the differences under the same seeds, splits and batches.

Sources: Wilcoxon, Biometrics Bulletin 1945; Efron, JASA 1987 (the BCa interval); Holm, Scandinavian Journal of
Statistics 1979.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lossearch.results.statistics.intervals import FEWEST_FOR_INTERVAL, contains_zero, mean, spread

#: Smallest number of pairs for a winner: with five, the smallest two-sided p of Wilcoxon's test is .0625.
FEWEST_PAIRS = 6

#: Resamples of the bootstrap and, from 14 pairs on, of the permutation test, and their seed, both fixed.
RESAMPLES, SEED = 9_999, 0

#: Largest number of pairs for an exact p of Wilcoxon's test.
MOST_EXACT = 200

Verdict = Literal["better", "worse", "no difference shown", "too few seeds"]


@dataclass(frozen=True)
class PairedTest:
    """The mean of paired differences, its 95 % BCa interval, and two-sided p-values.

    ``low`` and ``high`` are None for fewer than three pairs, and the p-values for fewer than two.
    """

    pairs: int
    difference: float
    low: float | None
    high: float | None
    p_wilcoxon: float | None
    p_permutation: float | None


def paired_test(differences: Sequence[float]) -> PairedTest:
    """Test if differences, one for each seed, are centered at zero.

    Wilcoxon's signed-rank test drops differences of zero. The permutation test flips signs: in all ways for up to 13
    pairs, in ``RESAMPLES`` random ways for more. Raises ValueError for no differences, or one that is not finite.
    """
    if not differences or not all(math.isfinite(difference) for difference in differences):
        raise ValueError(f"Expected finite differences, one for each seed, got {list(differences)[:5]}.")
    center = mean(differences)
    if len(differences) < 2:
        return PairedTest(len(differences), center, None, None, None, None)
    low, high = _interval(differences) if len(differences) >= FEWEST_FOR_INTERVAL else (None, None)
    return PairedTest(len(differences), center, low, high, _wilcoxon(differences), _permutation(differences))


def negated(test: PairedTest) -> PairedTest:
    """Return the test of the differences with the opposite sign."""
    low, high = (None if limit is None else -limit for limit in (test.high, test.low))
    return replace(test, difference=-test.difference, low=low, high=high)


def _interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % BCa interval of the mean; a point if all differences are equal."""
    from scipy import stats  # takes long to import

    if max(differences) - min(differences) < 1e-12:
        return differences[0], differences[0]
    result = stats.bootstrap(
        (np.asarray(differences),),
        np.mean,
        confidence_level=0.95,
        method="BCa",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(SEED),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _wilcoxon(differences: Sequence[float]) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; exact for up to ``MOST_EXACT`` pairs, also with ties."""
    from scipy import stats  # takes long to import

    moved = np.asarray([difference for difference in differences if abs(difference) > 1e-12])
    if not moved.size:
        return 1.0
    sizes = np.round(np.abs(moved), 12)
    if len(moved) > MOST_EXACT:
        return float(stats.wilcoxon(np.sign(moved) * sizes, method="asymptotic").pvalue)
    doubled = np.rint(2.0 * stats.rankdata(sizes)).astype(int)  # ranks of ties are halves
    chances = _rank_sums(doubled)
    reached = int(doubled[moved > 0.0].sum())
    return min(1.0, 2.0 * float(min(chances[: reached + 1].sum(), chances[reached:].sum())))


def _rank_sums(ranks: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return the probability of each sum of the positive ranks if both signs are equally likely, [sum of ranks + 1].

    The ranks are added one by one, by the shift algorithm of Streitberg & Roehmel, Statistical Software Newsletter
    1986, which allows ties.
    """
    chances = np.zeros(int(ranks.sum()) + 1)
    chances[0] = 1.0
    for rank in ranks:
        chances[rank:] += chances[:-rank].copy()
        chances *= 0.5
    return chances


def _permutation(differences: Sequence[float]) -> float:
    """Return the two-sided p of the permutation test."""
    from scipy import stats  # takes long to import

    result = stats.permutation_test(
        (np.asarray(differences),),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(SEED),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's step-down procedure, in the order given."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def fewest_pairs(losses: int, level: float = 0.05) -> int:
    """Return the smallest number of pairs for a winner among ``losses``, by Wilcoxon's test and Holm's correction.

    The smallest two-sided p of n pairs is 2/2**n, where all differences have one sign. Never fewer than six.
    """
    return max(FEWEST_PAIRS, math.floor(math.log2(2.0 * max(1, losses) / level)) + 1)


def verdict(test: PairedTest, corrected_p: float | None, losses: int = 1, level: float = 0.05) -> Verdict:
    """Judge one of ``losses`` losses. A winner needs an interval without 0, and the corrected p.

    Where the interval has no 0 and no difference is shown all the same, it is the p-value that decided.
    """
    if test.pairs < fewest_pairs(losses, level) or corrected_p is None or test.low is None or test.high is None:
        return "too few seeds"
    if contains_zero(test.low, test.high) or corrected_p >= level:
        return "no difference shown"
    return "better" if test.low > 0.0 else "worse"


def effect_size(differences: Sequence[float]) -> float | None:
    """Return the mean difference over its standard deviation (Cohen's d of pairs); None if that is zero or unknown."""
    deviation = spread(differences)
    return mean(differences) / deviation if deviation else None
