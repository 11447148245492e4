"""The parts of a data set that does not say its own: their names and their shares, drawn by one seed.

Names are drawn by hashes and rows by a permutation. A hash stays where others come: one name more moves at most one
other over each border. Rows suit data sets that were published and do not grow.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

import torch
from torch import Tensor

from lossearch.evaluators.data.splits import stratified

PARTS = ("train", "validation", "test")

SHARES, SPLIT_SEED = (0.5, 0.25, 0.25), 20_240_412

#: Shares of a training part that trains and that validates, where a data set has no validation part of its own.
HELD_OUT = (0.9, 0.1)


def in_drawn_order(names: Iterable[str]) -> list[str]:
    """The names in the order of their hashes, which is each name's own."""
    return sorted(names, key=lambda name: sha256(f"{SPLIT_SEED} {name}".encode("utf-8", "surrogateescape")).digest())


def cut(names: Iterable[str], shares: tuple[float, ...]) -> list[list[str]]:
    """The names in disjoint parts of these shares, in the drawn order.

    Each part has one at least, as long as there are enough.
    """
    drawn, parts, start = in_drawn_order(names), [], 0
    for place in range(1, len(shares)):
        border = round(sum(shares[:place]) * len(drawn))  # of one name more, the same or the next
        stop = max(start, min(max(border, start + 1), len(drawn) - len(shares) + place))
        parts.append(drawn[start:stop])
        start = stop
    return [*parts, drawn[start:]]


def rows_of_parts(
    targets: Tensor | Sequence[int], parts: Sequence[str], shares: tuple[float, ...]
) -> dict[str, list[int]]:
    """The rows of class indices [samples] that go to each of these parts: these shares of every class, by the seed."""
    rows = stratified(torch.as_tensor(targets), shares, SPLIT_SEED)
    return {part: each.tolist() for part, each in zip(parts, rows, strict=True)}
