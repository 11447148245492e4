"""Chance: the fitness on a split of a task of a network that has learned nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lossearch.evaluators.data.splits import Split
from lossearch.evaluators.tasks.task import Task

#: Quantile of the normal distribution for a 95 % interval.
_NORMAL = 1.96


@dataclass(frozen=True)
class Chance:
    """The fitness of the best constant answer."""

    fitness: float
    answer: str  #: the constant answer
    samples: int  #: number of samples, pairs or images that the fitness is measured on

    def explains(self, fitness: float) -> bool:
        """Return True if a fitness is not above chance: its 95 % binomial interval (Wilson's) reaches down to it.

        The pixels of an image are not independent, so images are counted.
        """
        z_squared = _NORMAL**2
        center = (fitness + z_squared / (2 * self.samples)) / (1 + z_squared / self.samples)
        variance = fitness * (1 - fitness) / self.samples + z_squared / (4 * self.samples**2)
        return center - _NORMAL * math.sqrt(variance) / (1 + z_squared / self.samples) <= self.fitness


def compute_chance(task: Task, split: Split | None = None) -> Chance:
    """Compute the chance level of a task on one of its splits, the validation split by default."""
    split = task.load().validation if split is None else split
    if split.pairs is not None:
        share = float(split.pairs.same.double().mean())
        return Chance(max(share, 1.0 - share), "the same answer for every pair", len(split.pairs))
    shares = _compute_class_shares(split)
    if task.dense:
        # The one class that is predicted has its share of the pixels as intersection over union, and the others have 0.
        return Chance(max(shares) / len(shares), "the most frequent class for every pixel", len(split))
    return Chance(max(shares), "the most frequent class for every sample", len(split))


def _compute_class_shares(split: Split) -> list[float]:
    """Return the share of each class that the split has. Pixels without a class are left out."""
    targets = split.targets.flatten()
    counts = targets[targets >= 0].unique(return_counts=True)[1].double()
    shares: list[float] = (counts / counts.sum()).tolist()
    return shares
