"""Identities: whether two names are one's, and pairs of those who are verified."""

import re
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lossearch.evaluators.data.splits import Pairs
from lossearch.primitives.errors import UserError

#: Pairs of one identity, and as many of two, that a part is verified by, where there are so many.
PAIRS = 500


def verification_pairs(targets: Tensor, seed: int, part: str) -> Pairs:
    """Balanced pairs of samples of identities [samples] that have two at least, none of them twice.

    Warns where there are fewer than ``PAIRS`` of a kind: so many as there are are taken. Raises UserError where fewer
    than two identities have two samples.
    """
    known, counts = targets.unique(return_counts=True)
    rows = torch.nonzero(torch.isin(targets, known[counts >= 2])).flatten()
    able = int((counts >= 2).sum())
    if able < 2:
        raise UserError(
            f"Expected two identities at least with two images each in {part}, got {able}. Add images of more "
            "identities."
        )
    pairs = distinct_pairs(targets[rows], PAIRS, seed)
    if len(pairs) < 2 * PAIRS:
        warnings.warn(
            f"The {part} part has few images: {len(pairs) // 2} pairs of one identity and as many of two verify, not "
            f"{PAIRS} of each.",
            UserWarning,
            stacklevel=3,
        )
    return Pairs(rows[pairs.first], rows[pairs.second], pairs.same)


def same_name(name: str) -> str:
    """A name in the form by which data sets are compared: its letters and digits, without accents and capitals."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return re.sub(r"[\W_]", "", "".join(letter for letter in plain if not unicodedata.combining(letter)))


# --- Pairs of samples without repetition, each pair equally likely, however many samples there are.


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
