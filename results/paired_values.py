"""Paired values: what losses reached on one task under the same seeds, by loss, and tests of two of them."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lossearch.results.paired_tests import PairedTest, paired_test
from lossearch.results.records import METRICS, Measurement
from lossearch.results.statistics import mean, paired_differences
from lossearch.results.two_way_interval import two_way_interval


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
