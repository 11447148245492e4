"""Rows of a buffer that a call reads: a view of it where they lie one after the other, else a copy at each call."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scattered:
    """Rows of a buffer that do not lie one after the other."""

    buffer: Tensor
    index: Tensor


#: Where rows are read.
Source = Tensor | Scattered


@dataclass(frozen=True)
class BufferRows:
    """Numbers of rows; ``start`` is the first of rows one after the other, else None."""

    index: Tensor
    start: int | None

    def of(self, buffer: Tensor) -> Source:
        """Where to read these rows of a buffer."""
        if self.start is None:
            return Scattered(buffer, self.index)
        return buffer[self.start : self.start + len(self.index)]


def rows_at(numbers: Sequence[int], device: torch.device | str = "cpu") -> BufferRows:
    """The rows with these numbers, one at least."""
    consecutive = list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))
    return BufferRows(torch.tensor(numbers, device=device), numbers[0] if consecutive else None)


def taken(source: Source) -> Tensor:
    """The rows at a place."""
    return source.buffer.index_select(0, source.index) if isinstance(source, Scattered) else source


def added_up(sources: Sequence[Source]) -> Tensor:
    """Sum of the rows at several places."""
    total = taken(sources[0])
    for more in sources[1:]:
        total = total + taken(more)
    return total
