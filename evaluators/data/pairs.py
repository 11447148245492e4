"""Pairs of samples to verify: half of them of one identity, half of two."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossearch.evaluators.data.splits import Pairs
from lossearch.primitives.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Most pairs of one identity in a part, and most pairs of two.
PAIRS = 500


def draw_verification_pairs(targets: Tensor, seed: int, part: str) -> Pairs:
    """Draw balanced, distinct pairs among the identities [samples] that have at least two samples.

    Warns if there are fewer than ``PAIRS`` pairs of each kind. Raises UserError if fewer than two identities have two
    samples.
    """
    import torch

    identities, counts = targets.unique(return_counts=True)
    num_identities = int((counts >= 2).sum())
    if num_identities < 2:
        raise UserError(
            f"Expected at least two identities with two images each in {part}, got {num_identities}. Add images of "
            "more identities."
        )
    rows = torch.nonzero(torch.isin(targets, identities[counts >= 2])).flatten()
    pairs = draw_distinct_pairs(targets[rows], PAIRS, seed)
    if len(pairs) < 2 * PAIRS:
        warnings.warn(
            f"The {part} part has few images: {len(pairs) // 2} pairs of one identity and {len(pairs) // 2} of two, "
            f"instead of {PAIRS} of each.",
            UserWarning,
            stacklevel=3,
        )
    return Pairs(rows[pairs.first], rows[pairs.second], pairs.same)


def draw_balanced_pairs(targets: Tensor, count: int, seed: int) -> Pairs:
    """Draw ``count`` pairs of one class and ``count`` pairs of two classes [samples], in random order.

    A pair may be drawn twice, but no sample is paired with itself. Raises ValueError for fewer than two classes, or a
    class with one sample.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    rows_by_class = {int(index): torch.nonzero(targets == index).flatten() for index in targets.unique()}
    if len(rows_by_class) < 2 or min(map(len, rows_by_class.values())) < 2:
        raise ValueError("Expected at least two classes with two samples each to pair.")
    classes = list(rows_by_class)

    def draw(high: int) -> int:
        return int(torch.randint(0, high, (1,), generator=generator))

    pairs = []
    for number in range(2 * count):
        index = classes[draw(len(classes))]
        same = number % 2 == 0
        other = index if same else [name for name in classes if name != index][draw(len(classes) - 1)]
        first = rows_by_class[index][draw(len(rows_by_class[index]))]
        candidates = rows_by_class[other][rows_by_class[other] != first]
        pairs.append((int(first), int(candidates[draw(len(candidates))]), same))
    order = torch.randperm(len(pairs), generator=generator).tolist()
    return Pairs(*(torch.tensor([pairs[place][column] for place in order]) for column in range(3)))


def draw_distinct_pairs(targets: Tensor, count: int, seed: int) -> Pairs:
    """Draw up to ``count`` distinct pairs of one class and the same number of two classes, in random order.

    ``targets`` [samples] hold at least two classes with two samples each. Every pair is equally likely, and time does
    not depend on the number of possible pairs.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    sizes = targets.unique(return_counts=True)[1]
    draw = _PairDraw(sizes, generator)
    num_pairs = min(count, int(draw.num_of_one.sum()) // 2, int(draw.num_of_two.sum()) // 2)
    pairs = [*_draw_distinct(num_pairs, draw.of_one), *_draw_distinct(num_pairs, draw.of_two)]
    order = torch.randperm(len(pairs), generator=generator)
    rows = targets.argsort(stable=True)  # class after class
    first, second = rows[torch.tensor(pairs)[order].T]
    return Pairs(first, second, order < num_pairs)


@dataclass(frozen=True)
class _PairDraw:
    """Draws ordered pairs of samples that are sorted by class. All pairs of a kind are equally likely."""

    sizes: Tensor  #: samples of each class
    generator: torch.Generator

    @property
    def num_of_one(self) -> Tensor:
        """Number of ordered pairs within each class [classes]."""
        return self.sizes * (self.sizes - 1)

    @property
    def num_of_two(self) -> Tensor:
        """Number of ordered pairs of two classes, by the class of the first sample [classes]."""
        return self.sizes * (self.sizes.sum() - self.sizes)

    def of_one(self) -> tuple[int, int]:
        """Draw a pair of one class."""
        start, size = self._draw_class(self.num_of_one)
        first, other = self._draw_below(size), self._draw_below(size - 1)
        return start + first, start + other + (other >= first)  # skips the first itself

    def of_two(self) -> tuple[int, int]:
        """Draw a pair of two classes."""
        start, size = self._draw_class(self.num_of_two)
        first, other = self._draw_below(size), self._draw_below(int(self.sizes.sum()) - size)
        return start + first, other + (size if other >= start else 0)  # skips the class of the first

    def _draw_class(self, weights: Tensor) -> tuple[int, int]:
        """Draw a class with these weights, and return its first row and its size."""
        import torch

        index = int(torch.multinomial(weights.double(), 1, generator=self.generator))
        return int(self.sizes[:index].sum()), int(self.sizes[index])

    def _draw_below(self, high: int) -> int:
        import torch

        return int(torch.randint(0, high, (1,), generator=self.generator))


def _draw_distinct(count: int, draw: Callable[[], tuple[int, int]]) -> list[tuple[int, int]]:
    """Draw until there are ``count`` different pairs, where order within a pair does not matter."""
    drawn: dict[tuple[int, int], None] = {}
    while len(drawn) < count:
        first, second = draw()
        drawn.setdefault((min(first, second), max(first, second)))
    return list(drawn)
