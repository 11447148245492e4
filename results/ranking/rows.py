"""The rows of a leaderboard as a sequence that makes each where it is asked for: of a million a reader wants few.

Invariant: a row is one object for as long as somebody holds it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, overload
from weakref import WeakValueDictionary

import numpy as np

from lossearch.results.ranking.order import Ranking
from lossearch.results.ranking.row import Row, row_of
from lossearch.results.records import Evaluation
from lossearch.results.storage.columns import Places

if TYPE_CHECKING:
    from lossearch.results.records import Evaluation
    from lossearch.results.storage.columns import StoredRecords


#: Rows that are made together where all are asked for: a few at first, in case that not all are.
_FEWEST, _MOST = 64, 65_536


class Rows(Sequence[Row]):
    """Best first, those without a rank last in the order of their birth."""

    def __init__(self, evaluations: "StoredRecords[Evaluation]") -> None:
        self._evaluations, self.ranking = evaluations, Ranking(evaluations)
        self._baseline = {} if self.ranking.baseline is None else self.ranking.of_seed.of(self.ranking.baseline)
        self._held: WeakValueDictionary[int, Row] = WeakValueDictionary()

    def __len__(self) -> int:
        return self.ranking.losses

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, range) else self._at([places])[0]

    def __iter__(self) -> Iterator[Row]:
        start, count = 0, _FEWEST
        while start < len(self):
            yield from self[start : start + count]
            start, count = start + count, min(2 * count, _MOST)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def named(self) -> list[Row]:
        """Those of known losses."""
        return self._at(self.ranking.named().tolist())

    def _at(self, places: Sequence[int]) -> list[Row]:
        held = {place: row for place in places if (row := self._held.get(place)) is not None}
        lacking = [place for place in places if place not in held]
        for place, row in self._made(np.array(lacking, dtype=np.int64)):
            held[place] = self._held[place] = row
        return [held[place] for place in places]

    def _made(self, places: Places) -> Iterator[tuple[int, Row]]:
        """The rows at some places, in any order."""
        ranking = self.ranking
        losses = ranking.order[places]
        place_of = dict(zip(losses.tolist(), places.tolist(), strict=True))
        own, loss_of = ranking.evaluations_of(losses)
        records = zip(loss_of.tolist(), self._evaluations.records(own), strict=True)
        for loss, group in groupby(records, key=lambda each: each[0]):
            place = place_of[loss]
            is_ranked = place < ranking.ranked
            rank, pareto = (place + 1, bool(ranking.pareto[place])) if is_ranked else (None, False)
            yield place, row_of([each for _, each in group], self._baseline, ranking.tasks, rank, pareto)


def known_losses(rows: Sequence[Row]) -> list[Row]:
    """The rows of known losses, where a leaderboard's are asked without making the others."""
    return rows.named() if isinstance(rows, Rows) else [row for row in rows if row.name is not None]


def leaderboard_rows(evaluations: Iterable[Evaluation]) -> "Rows":
    """Rows of the evaluations, best first, those without a rank last in the order of their birth."""
    from lossearch.results.storage.columns import StoredRecords

    return Rows(StoredRecords.of(Evaluation, evaluations))
