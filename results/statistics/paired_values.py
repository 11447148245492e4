"""Paired values: the metric of losses on one task under the same seeds, and tests of two of the losses."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lossearch.results.records import METRICS, Measurement
from lossearch.results.statistics.intervals import FEWEST_FOR_INTERVAL, mean, paired_differences
from lossearch.results.statistics.paired_tests import SEED, PairedTest, paired_test

#: Number of resamples of the two-way interval, fixed so that a table repeats.
TWO_WAY_RESAMPLES = 2_000


class PairedValues:
    """The metric of each loss by seed.

    A loss that failed under a seed has no mean: its other seeds would be a selection.
    """

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._groups: dict[str, list[Measurement]] = {}
        for measurement in measurements:
            if measurement.measure in METRICS:
                self._groups.setdefault(measurement.loss, []).append(measurement)

    @cached_property
    def metric(self) -> str:
        """Name of the metric."""
        return next(measurement.measure for group in self._groups.values() for measurement in group)

    def first(self, loss: str) -> Measurement:
        """Return the first measurement of a loss."""
        return self._groups[loss][0]

    def seeds(self, loss: str) -> int:
        """Return the number of finished trainings of a loss."""
        return len(self._by_seed(loss))

    def mean(self, loss: str) -> float | None:
        """Return the mean over the seeds; None if a training failed or there is none."""
        group = self._groups.get(loss, [])
        if not group or any(measurement.value is None for measurement in group):
            return None
        return mean(self._by_seed(loss).values())

    def reason(self, loss: str) -> str | None:
        """Return the reason of the first failed training; None if all finished."""
        return next((failed.reason for failed in self._groups.get(loss, []) if failed.reason is not None), None)

    def test(self, one: str, other: str, comparisons: int = 1) -> PairedTest | None:
        """Test two losses, as one of so many comparisons; None if one of them failed."""
        if self.mean(one) is None or self.mean(other) is None:
            return None
        return self.test_of_finished(one, other, comparisons)

    def test_of_finished(self, one: str, other: str, comparisons: int = 1) -> PairedTest | None:
        """Test two losses under the seeds that both finished; None if there are none."""
        differences = paired_differences(self._by_seed(one), self._by_seed(other))
        return paired_test(differences, comparisons) if differences else None

    def samples(self, loss: str) -> int | None:
        """Return the number of samples or pairs of the split; None if no record says which were predicted correctly."""
        correct = self._correct_samples.get(loss)
        return None if correct is None else correct.shape[1]

    def two_way(self, one: str, other: str) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean difference over seeds and samples.

        None if samples are not recorded, and for fewer than three seeds. Raises ValueError if one loss has more seeds
        than the other.
        """
        ours, theirs = self._correct_samples.get(one), self._correct_samples.get(other)
        if ours is None or theirs is None or len(ours) < FEWEST_FOR_INTERVAL:
            return None
        return two_way_interval(ours, theirs)

    @cached_property
    def _correct_samples(self) -> dict[str, NDArray[np.float64]]:
        """1 for each sample that was predicted correctly, else 0, [seeds, samples], sorted by seed, by loss.

        Losses that failed, or whose samples are not recorded, are left out.
        """
        samples = {}
        for loss, group in self._groups.items():
            rows = [measurement.right for measurement in sorted(group, key=lambda measurement: measurement.seed)]
            if rows[0] and all(len(row) == len(rows[0]) for row in rows):
                samples[loss] = np.asarray(rows, np.float64)
        return samples

    def _by_seed(self, loss: str) -> dict[int, float]:
        return {
            measurement.seed: measurement.value
            for measurement in self._groups.get(loss, [])
            if measurement.value is not None
        }


def two_way_interval(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a mean difference under other seeds and on other samples of the same kind.

    Both arrays are [seeds, samples], 1 for a correct prediction and 0 otherwise; equal rows are of the same seed and
    equal columns of the same sample. An interval over seeds alone would hold for this very split only. It is the
    percentile interval of the pigeonhole bootstrap, which resamples seeds and samples independently: Owen, Annals of
    Applied Statistics 2007. Raises ValueError for arrays of different or other shapes.
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
