"""Rows of a buffer that a call reads: a view where they are consecutive, else a copy at each call."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scattered:
    """Rows of a buffer that are not consecutive."""

    buffer: Tensor
    index: Tensor


#: A place where rows are read.
Source = Tensor | Scattered


@dataclass(frozen=True)
class BufferRows:
    """Numbers of rows. ``start`` is the first of consecutive rows, None for others."""

    index: Tensor
    start: int | None

    def of(self, buffer: Tensor) -> Source:
        """Return the place of these rows in a buffer."""
        if self.start is None:
            return Scattered(buffer, self.index)
        return buffer[self.start : self.start + len(self.index)]


def rows_at(numbers: Sequence[int], device: torch.device | str = "cpu") -> BufferRows:
    """Return the rows with these numbers, of which there is at least one."""
    consecutive = list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))
    return BufferRows(torch.tensor(numbers, device=device), numbers[0] if consecutive else None)


def read_rows(source: Source) -> Tensor:
    """Read the rows at a place."""
    return source.buffer.index_select(0, source.index) if isinstance(source, Scattered) else source


def add_up(sources: Sequence[Source]) -> Tensor:
    """Add the rows at several places, row by row."""
    total = read_rows(sources[0])
    for source in sources[1:]:
        total = total + read_rows(source)
    return total


def rows_of_terms(contributions: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the rows of the first terms of several sums, of their second terms, and so on.

    ``contributions`` has the rows of each sum. A shorter sum is filled with row 0, which holds zeros.
    """
    terms = max(map(len, contributions), default=0)
    return [[rows[term] if term < len(rows) else 0 for rows in contributions] for term in range(terms)]
