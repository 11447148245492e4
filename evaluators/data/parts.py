"""The parts of a data set that does not define its own: their names and shares, drawn with one seed.

Names are drawn by their hashes, and rows by a permutation. A hash does not depend on other names: adding a name moves
at most one other name over each border. Rows suit published data sets, which do not grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


PARTS = ("train", "validation", "test")

SHARES, SPLIT_SEED = (0.5, 0.25, 0.25), 20_240_412

#: Shares of train and validation in a training part, if a data set has no validation part of its own.
HELD_OUT = (0.9, 0.1)


def cut(names: Iterable[str], shares: tuple[float, ...]) -> list[list[str]]:
    """Cut the names into disjoint parts with these shares, in drawn order.

    Each part has at least one name if there are enough names.
    """
    drawn, parts, start = sort_by_hash(names), [], 0
    for place in range(1, len(shares)):
        border = round(sum(shares[:place]) * len(drawn))  # one name more moves it by at most one
        stop = max(start, min(max(border, start + 1), len(drawn) - len(shares) + place))
        parts.append(drawn[start:stop])
        start = stop
    return [*parts, drawn[start:]]


def sort_by_hash(names: Iterable[str]) -> list[str]:
    """Sort the names by their hashes."""
    return sorted(names, key=lambda name: sha256(f"{SPLIT_SEED} {name}".encode("utf-8", "surrogateescape")).digest())


def draw_rows(targets: Tensor | Sequence[int], parts: Sequence[str], shares: tuple[float, ...]) -> dict[str, list[int]]:
    """Divide the rows of class indices [samples] among the parts, with these shares of every class."""
    import torch

    rows_by_part = stratify(torch.as_tensor(targets), shares, SPLIT_SEED)
    return {part: rows.tolist() for part, rows in zip(parts, rows_by_part, strict=True)}


def stratify(targets: Tensor, shares: tuple[float, ...], seed: int) -> list[Tensor]:
    """Draw row indices of disjoint parts with these shares of every class [samples].

    The last part takes the remaining rows. Raises ValueError if the shares sum to more than 1.
    """
    import torch

    if sum(shares) > 1.0 + 1e-9:
        raise ValueError(f"Expected shares that sum to at most 1, got {shares}.")
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in shares]
    for index in targets.unique():
        rows = torch.nonzero(targets == index).flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        start = 0
        for part, share in zip(parts[:-1], shares[:-1], strict=True):
            stop = start + round(share * len(rows))
            part.append(rows[start:stop])
            start = stop
        parts[-1].append(rows[start:])
    return [torch.cat(part).sort().values for part in parts]
