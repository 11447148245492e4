"""Pairs of samples without repetition, each pair equally likely, however many samples there are."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lossearch.evaluators.splits import Pairs


def distinct_pairs(targets: Tensor, count: int, seed: int) -> Pairs:
    """So many pairs of samples of one class and as many of two, or as many of each as there are, in a random order.

    ``targets`` [samples] are of two classes at least, with two samples each.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = targets.unique(return_counts=True)[1]
    draw = _Draw(sizes, generator)
    wanted = min(count, int(draw.of_one.sum()) // 2, int(draw.of_two.sum()) // 2)
    pairs = [*_until(wanted, draw.one), *_until(wanted, draw.two)]
    order = torch.randperm(len(pairs), generator=generator)
    rows = targets.argsort(stable=True)  # class after class
    first, second = rows[torch.tensor(pairs)[order].T]
    return Pairs(first, second, order < wanted)


@dataclass(frozen=True)
class _Draw:
    """Draws ordered pairs of samples that lie class after class; all are equally likely."""

    sizes: Tensor  #: samples of each class
    generator: torch.Generator

    @property
    def of_one(self) -> Tensor:
        """Pairs of one class, by class."""
        return self.sizes * (self.sizes - 1)

    @property
    def of_two(self) -> Tensor:
        """Pairs of two classes, by the class of the first."""
        return self.sizes * (self.sizes.sum() - self.sizes)

    def one(self) -> tuple[int, int]:
        start, size = self._class(self.of_one)
        first, other = self._below(size), self._below(size - 1)
        return start + first, start + other + (other >= first)

    def two(self) -> tuple[int, int]:
        start, size = self._class(self.of_two)
        first, other = self._below(size), self._below(int(self.sizes.sum()) - size)
        return start + first, other + (size if other >= start else 0)

    def _class(self, weights: Tensor) -> tuple[int, int]:
        """Where a class starts, and its size; drawn by its number of pairs."""
        drawn = int(torch.multinomial(weights.double(), 1, generator=self.generator))
        return int(self.sizes[:drawn].sum()), int(self.sizes[drawn])

    def _below(self, high: int) -> int:
        return int(torch.randint(0, high, (1,), generator=self.generator))


def _until(wanted: int, draw: Callable[[], tuple[int, int]]) -> list[tuple[int, int]]:
    """The first so many different pairs that are drawn, whichever of the two comes first."""
    seen: dict[tuple[int, int], None] = {}
    while len(seen) < wanted:
        first, second = draw()
        seen.setdefault((min(first, second), max(first, second)))
    return list(seen)
