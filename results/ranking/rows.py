"""The rows of a leaderboard as a sequence that builds a row when it is read: of a million, a reader needs few.

Invariant: a row is one object for as long as somebody holds it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload
from weakref import WeakValueDictionary

import numpy as np

from lossearch.results.ranking.order import Ranking
from lossearch.results.ranking.row import Row
from lossearch.results.ranking.row_builder import build_row
from lossearch.results.records import Evaluation
from lossearch.results.storage.columns import StoredRecords

# Rows that an iteration builds at a time: few at first, for a reader that stops early.
_FIRST_BATCH, _LARGEST_BATCH = 64, 65_536


class Rows(Sequence[Row]):
    """Rows with a rank, best first, then the rows without one in the order of their birth."""

    def __init__(self, evaluations: StoredRecords[Evaluation]) -> None:
        self._evaluations, self.ranking = evaluations, Ranking(evaluations)
        baseline = self.ranking.baseline
        self._baseline = {} if baseline is None else self.ranking.seed_fitness.by_seed(baseline)
        self._held: WeakValueDictionary[int, Row] = WeakValueDictionary()

    def __len__(self) -> int:
        return self.ranking.num_losses

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, range) else self._at([places])[0]

    def __iter__(self) -> Iterator[Row]:
        start, count = 0, _FIRST_BATCH
        while start < len(self):
            yield from self[start : start + count]
            start, count = start + count, min(2 * count, _LARGEST_BATCH)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def named(self) -> list[Row]:
        """Return the rows of known losses."""
        return self._at(self.ranking.named().tolist())

    def of_formula(self, formula: str) -> list[Row]:
        """Return the rows of the losses with this formula, best first: one for each kind of class weights."""
        losses = np.unique(self.ranking.loss[self._evaluations.equals("formula", formula)])
        rows = self._at(np.flatnonzero(np.isin(self.ranking.order, losses)).tolist())
        return [row for row in rows if row.formula == formula]  # a duplicate's evaluation has its own text

    def _at(self, places: Sequence[int]) -> list[Row]:
        """Return the rows at some places; build those that nobody holds."""
        rows = {place: row for place in places if (row := self._held.get(place)) is not None}
        for place, row in self._build([place for place in places if place not in rows]):
            rows[place] = self._held[place] = row
        return [rows[place] for place in places]

    def _build(self, places: Sequence[int]) -> Iterator[tuple[int, Row]]:
        losses = self.ranking.order[np.array(places, dtype=np.int64)]
        indices, losses_of_evaluations = self.ranking.evaluations_of(losses)
        groups: dict[int, dict[int, Evaluation]] = {loss: {} for loss in losses.tolist()}
        records = self._evaluations.records(indices)
        for loss, index, record in zip(losses_of_evaluations.tolist(), indices.tolist(), records, strict=True):
            groups[loss][index] = record
        for place, group in zip(places, groups.values(), strict=True):
            yield place, build_row(self.ranking, place, group, self._baseline)


def known_losses(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of known losses; of a leaderboard's ``Rows`` without building the others."""
    return rows.named() if isinstance(rows, Rows) else [row for row in rows if row.name is not None]


def leaderboard_rows(evaluations: Iterable[Evaluation]) -> Rows:
    """Rank evaluations that are in no file."""
    return Rows(StoredRecords.of(Evaluation, evaluations))
