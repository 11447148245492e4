"""Paired tests of two losses: the same seeds, splits and batches, so that differences alone count.

Sources: Wilcoxon, Biometrics Bulletin 1945; Efron, JASA 1987 (the BCa interval); Holm, Scandinavian Journal of
Statistics 1979.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lossearch.results.records import METRICS, Measurement
from lossearch.results.statistics.intervals import mean, paired_differences, spread

#: Pairs without which no winner is called: with five the smallest two-sided p of Wilcoxon's test is .0625.
FEWEST_PAIRS = 6

#: Resamples of the bootstrap and, beyond 2**13 sign patterns, of the permutation test; fixed, so that a table repeats.
RESAMPLES, SEED = 9_999, 0

#: Pairs up to which Wilcoxon's p is exact.
MOST_EXACT = 200

Verdict = Literal["better", "worse", "no difference shown", "too few seeds"]


@dataclass(frozen=True)
class PairedTest:
    """What the differences of paired values say: their mean, its 95 % BCa interval, and two-sided p-values.

    ``low``, ``high`` and the p-values are None where fewer than two pairs give none.
    """

    pairs: int
    difference: float
    low: float | None
    high: float | None
    p_wilcoxon: float | None
    p_permutation: float | None


def paired_test(differences: Sequence[float]) -> PairedTest:
    """Test whether differences, one for each seed, are centered at zero.

    Wilcoxon's signed-rank test drops differences of zero; the permutation test turns signs, all ways of up to 13 pairs.
    Raises ValueError for none or for what is not finite.
    """
    if not differences or not all(math.isfinite(each) for each in differences):
        raise ValueError(f"Expected finite differences, one for each seed, got {list(differences)[:5]}.")
    center = mean(differences)
    if len(differences) < 2:
        return PairedTest(len(differences), center, None, None, None, None)
    low, high = _interval(differences)
    return PairedTest(len(differences), center, low, high, _wilcoxon(differences), _permutation(differences))


def negated(test: PairedTest) -> PairedTest:
    """The test of the differences with the other sign."""
    low, high = (None if each is None else -each for each in (test.high, test.low))
    return replace(test, difference=-test.difference, low=low, high=high)


def _interval(differences: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean; a point where all are equal."""
    if max(differences) - min(differences) < 1e-12:
        return differences[0], differences[0]
    found = stats.bootstrap(
        (np.asarray(differences),),
        np.mean,
        confidence_level=0.95,
        method="BCa",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(SEED),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _wilcoxon(differences: Sequence[float]) -> float:
    """Of Wilcoxon's signed-rank test, two-sided; exact for up to ``MOST_EXACT`` pairs, also where differences tie."""
    moved = np.asarray([each for each in differences if abs(each) > 1e-12])
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
    """The chance of each sum of the ranks that are positive, where either sign is as likely, [0 .. sum of the ranks].

    One rank after the other is added or is not: the shift algorithm of Streitberg & Roehmel, Statistical Software
    Newsletter 1986, which takes ties.
    """
    chances = np.zeros(int(ranks.sum()) + 1)
    chances[0] = 1.0
    for rank in ranks:
        chances[rank:] += chances[:-rank].copy()
        chances *= 0.5
    return chances


def _permutation(differences: Sequence[float]) -> float:
    found = stats.permutation_test(
        (np.asarray(differences),),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(SEED),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for how many there are, in the order given, by Holm's step-down procedure."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def fewest_pairs(losses: int, level: float = 0.05) -> int:
    """Pairs from which one of so many losses can be called a winner at all, by Wilcoxon's test with Holm's correction.

    All differences of n pairs with one sign have the smallest two-sided p there is, 2/2**n. Never fewer than six.
    """
    return max(FEWEST_PAIRS, math.floor(math.log2(2.0 * max(1, losses) / level)) + 1)


def verdict(test: PairedTest, corrected_p: float | None, losses: int = 1, level: float = 0.05) -> Verdict:
    """What may be said of one of so many losses: a winner is called by both the interval and the corrected p."""
    if test.pairs < fewest_pairs(losses, level) or corrected_p is None or test.low is None or test.high is None:
        return "too few seeds"
    if corrected_p < level and test.low > 0.0:
        return "better"
    if corrected_p < level and test.high < 0.0:
        return "worse"
    return "no difference shown"


def effect_size(differences: Sequence[float]) -> float | None:
    """Mean difference over its standard deviation (Cohen's d of pairs); None where that is zero or unknown."""
    deviation = spread(differences)
    return mean(differences) / deviation if deviation else None


# --- Paired values: what losses reached on one task under the same seeds, by loss, and tests of two of them.


class PairedValues:
    """The metric of each loss by seed. Of a loss that failed under a seed nothing is told: the others are chosen."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._groups: dict[str, list[Measurement]] = {}
        for each in measurements:
            if each.measure in METRICS:
                self._groups.setdefault(each.loss, []).append(each)

    @cached_property
    def metric(self) -> str:
        """What is measured."""
        return next(each.measure for group in self._groups.values() for each in group)

    def first(self, loss: str) -> Measurement:
        """One of the measurements of a loss."""
        return self._groups[loss][0]

    def seeds(self, loss: str) -> int:
        """How many trainings of a loss were finished."""
        return len(self._by_seed(loss))

    def mean(self, loss: str) -> float | None:
        """Mean over the seeds; None where a training failed or there is none."""
        group = self._groups.get(loss, [])
        if not group or any(each.value is None for each in group):
            return None
        return mean(self._by_seed(loss).values())

    def reason(self, loss: str) -> str | None:
        """Why the first training failed that did."""
        return next((each.reason for each in self._groups.get(loss, []) if each.reason is not None), None)

    def test(self, one: str, other: str) -> PairedTest | None:
        """The paired test of two losses; None where one of them failed."""
        if self.mean(one) is None or self.mean(other) is None:
            return None
        return self.test_of_finished(one, other)

    def test_of_finished(self, one: str, other: str) -> PairedTest | None:
        """The paired test of two losses under the seeds that both finished; None where there are none."""
        differences = paired_differences(self._by_seed(one), self._by_seed(other))
        return paired_test(differences) if differences else None

    def samples(self, loss: str) -> int | None:
        """Samples, or pairs, of the split; None where it is not told which of them were right."""
        right = self._right.get(loss)
        return None if right is None else right.shape[1]

    def two_way(self, one: str, other: str) -> tuple[float, float] | None:
        """95 % interval of the mean difference over seeds and samples; None where samples are not told.

        Raises ValueError where one has more seeds than the other.
        """
        ours, theirs = self._right.get(one), self._right.get(other)
        if ours is None or theirs is None:
            return None
        return two_way_interval(ours, theirs)

    @cached_property
    def _right(self) -> dict[str, NDArray[np.float64]]:
        """Which samples were told rightly, [seeds, samples] in the order of the seeds, of losses that did not fail."""
        found = {}
        for loss, group in self._groups.items():
            rows = [each.right for each in sorted(group, key=lambda each: each.seed)]
            if rows[0] and all(len(row) == len(rows[0]) for row in rows):
                found[loss] = np.asarray(rows, np.float64)
        return found

    def _by_seed(self, loss: str) -> dict[int, float]:
        return {each.seed: each.value for each in self._groups.get(loss, []) if each.value is not None}


# --- Two-way interval: what a mean difference may be under other seeds and on other samples of the same kind.
#
# An interval over seeds alone says what other seeds would give on this very split. Source: the pigeonhole
# bootstrap of Owen, Annals of Applied Statistics 2007: seeds and samples are resampled each by itself.

#: Resamples and their seed, fixed, so that a table repeats.
TWO_WAY_RESAMPLES = 2_000


def two_way_interval(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean difference of two arrays [seeds, samples] of what was told rightly.

    Row by row they are of the same seed, column by column of the same sample. Raises ValueError for other shapes.
    """
    if ours.shape != theirs.shape or ours.ndim != 2 or not ours.size:
        raise ValueError(f"Expected two arrays [seeds, samples] of one shape, got {ours.shape} and {theirs.shape}.")
    differences = ours - theirs
    seeds, samples = differences.shape
    generator = np.random.default_rng(SEED)
    of_seeds = generator.multinomial(seeds, np.full(seeds, 1.0 / seeds), TWO_WAY_RESAMPLES) / seeds
    of_samples = generator.multinomial(samples, np.full(samples, 1.0 / samples), TWO_WAY_RESAMPLES) / samples
    means = ((of_seeds @ differences) * of_samples).sum(1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
