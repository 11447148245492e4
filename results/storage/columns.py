"""Records as columns in memory: arrays of what is asked for, and objects of those records alone that are asked for.

Invariant: records stand in the order written, and their columns are never changed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lossearch.results.records import Evaluation, Measurement
from lossearch.results.storage.tables import TEXT, objects, schema_of, table_in_memory

# --- Groups of array elements: the first of each, and their means, without a loop over the groups.
#
# ``groups`` is the group of each element, an index below ``count``.

#: Indices: of records, of groups, of distinct texts.
Places = NDArray[Any]


Flags = NDArray[np.bool_]


#: Elements of a group whose sum is taken by arrays; the few larger groups are summed one by one.
_FEW = 32


def first_of_each(groups: Places, count: int, among: Flags | None = None) -> Places:
    """Place of the first element of each group, among those that are marked; one past the last where there is none."""
    places = np.arange(len(groups)) if among is None else np.flatnonzero(among)
    found = np.full(count, len(groups))
    found[groups[places][::-1]] = places[::-1]  # of several values for one place, the last remains
    return found


def least_of_each(groups: Places, count: int, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The least value in each group, the greatest number there is where it has none."""
    found = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(found, groups, values)
    return found


def differs(*keys: NDArray[Any]) -> Flags:
    """Where a run of equal keys begins."""
    found = np.ones(len(keys[0]), dtype=bool)
    if len(found):
        found[1:] = False
        for key in keys:
            found[1:] |= key[1:] != key[:-1]
    return found


def means(values: NDArray[np.float64], starts: Places) -> NDArray[np.float64]:
    """Mean of each run of values that begins at one of the starts, equal to ``statistics.fmean`` to the last bit.

    The sum is kept in two numbers, whose error is taken up exactly (Knuth's TwoSum); where two do not hold it, it is
    taken by ``math.fsum``.
    """
    counts = np.diff(starts, append=len(values))
    total, rest, inexact = values[starts], np.zeros(len(starts)), counts > _FEW
    for number in range(1, min(int(counts.max(initial=0)), _FEW)):
        longer = np.flatnonzero(counts > number)
        total[longer], error = _two_sum(total[longer], values[starts[longer] + number])
        rest[longer], lost = _two_sum(rest[longer], error)
        inexact[longer] |= lost != 0.0
    total += rest
    for group in np.flatnonzero(inexact):
        total[group] = math.fsum(values[starts[group] : starts[group] + counts[group]])
    return total / counts


def _two_sum(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rounded sum and what rounding took from it."""
    total = a + b
    rounded = total - a
    return total, (a - (total - rounded)) + (b - rounded)


Record = TypeVar("Record", bound=Evaluation | Measurement)


@dataclass(frozen=True)
class Texts:
    """A column of texts: the distinct ones, and the index of each record's among them, -1 where it has none."""

    codes: Places
    distinct: pa.StringArray  #: some of them may be no record's

    def values(self) -> list[str]:
        """The distinct texts, by their code."""
        return self.distinct.to_pylist()

    def are(self, text: str) -> Flags:
        """Which records have this text."""
        values = self.values()
        return self.codes == (values.index(text) if text in values else len(values))

    def sorted_places(self, codes: Places) -> Places:
        """The places of some codes, in the order of their texts."""
        return np.from_dlpack(pc.array_sort_indices(self.distinct.take(_arrow(codes))))


class StoredRecords(Generic[Record]):
    """Records as columns, in the order written; objects are made of those alone that are asked for."""

    def __init__(self, record_type: type[Record], tables: Iterable[pa.Table], kept: Places | None = None) -> None:
        kind: type = record_type
        self.record_type, self._schema = record_type, schema_of(kind)
        self._tables = [each for each in tables if len(each)]
        self._starts = np.cumsum([0, *map(len, self._tables)])
        self._kept = kept  #: all, where there is None
        self._texts: dict[str, Texts] = {}
        self._numbers: dict[str, tuple[NDArray[Any], Flags]] = {}

    @classmethod
    def of(cls, record_type: type[Record], records: Iterable[Record]) -> "StoredRecords[Record]":
        """Records that are in no file."""
        return cls(record_type, [table_in_memory(record_type, records)])

    @classmethod
    def joined(cls, record_type: type[Record], parts: Iterable["StoredRecords[Record]"]) -> "StoredRecords[Record]":
        """The records of all the parts, none of which leaves any out."""
        return cls(record_type, [table for part in parts for table in part._tables])

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._kept is None else len(self._kept)

    def are_complete(self) -> bool:
        """Whether there is a value wherever there must be one, and every number is finite."""
        needed = [number for number, each in enumerate(self._schema) if not each.nullable]
        measured = [each.name for each in self._schema if pa.types.is_floating(each.type)]
        return not any(table.column(number).null_count for table in self._tables for number in needed) and all(
            pc.all(pc.is_finite(self._column(name))).as_py() is not False for name in measured
        )

    def range(self, name: str) -> tuple[float, float]:
        """The least and the greatest number of a column; 0 and 0 where there is none."""
        found = pc.min_max(self._column(name)).as_py()
        return found["min"] or 0, found["max"] or 0

    def distinct(self, name: str) -> set[str]:
        """The texts of a column, and maybe some that are no record's."""
        return {text for chunk in self._column(name).chunks for text in chunk.dictionary.to_pylist()}

    def numbers(self, name: str) -> tuple[NDArray[Any], Flags]:
        """A column of numbers, with zero where there is none, and where there is one."""
        if name not in self._numbers:
            column = self._column(name)
            known = _numpy(column.is_valid().cast(pa.uint8())).view(np.bool_)
            self._numbers[name] = self._of_kept(_numpy(column)), self._of_kept(known)
        return self._numbers[name]

    def texts(self, name: str) -> Texts:
        """A column of texts."""
        if name not in self._texts:
            chunks = self._column(name).unify_dictionaries().chunks
            codes = pa.chunked_array([each.indices for each in chunks], pa.int32())
            distinct = chunks[0].dictionary if chunks else pa.nulls(0, pa.string())
            self._texts[name] = Texts(self._of_kept(_numpy(codes, -1)), distinct)
        return self._texts[name]

    def _column(self, name: str) -> pa.ChunkedArray:
        number, kind = self._schema.get_field_index(name), self._schema.field(name).type
        chunks = [each.column(number).chunk(0) for each in self._tables]
        return pa.chunked_array(chunks, TEXT if pa.types.is_string(kind) else kind)

    def _of_kept(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self._kept is None else values[self._kept]

    def once(self) -> "StoredRecords[Record]":
        """Those of all whose first field, their identity, is no earlier one's."""
        identity = self.texts(self._schema.names[0])
        if np.bincount(identity.codes).max(initial=0) <= 1:
            return self
        first = first_of_each(identity.codes, len(identity.distinct))
        return StoredRecords(self.record_type, self._tables, np.sort(first[first < len(self)]))

    def records(self, places: Places | None = None) -> list[Record]:
        """Those at the places, in their order; all where no places are given."""
        rows = self._of_kept(np.arange(self._starts[-1]))
        rows = rows if places is None else rows[places]
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(parts, kind="stable")
        bounds = np.searchsorted(parts[order], np.arange(len(self._tables) + 1))
        found: list[Record] = []
        for part in np.flatnonzero(np.diff(bounds)):
            own = rows[order[bounds[part] : bounds[part + 1]]] - self._starts[part]
            found += objects(self.record_type, self._tables[part].take(_arrow(own)), checked=True)
        return [found[place] for place in np.argsort(order).tolist()]


# Pyarrow's own conversions from and to numpy import pandas where it is installed, which takes as long as to rank.


def _arrow(values: NDArray[Any]) -> pa.Array:
    """Numbers of numpy as they lie in memory."""
    whole = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(whole.dtype), len(whole), [None, pa.py_buffer(whole)])


def _numpy(column: pa.ChunkedArray, null: int = 0) -> NDArray[Any]:
    """The numbers of a column, with another for nulls."""
    if column.null_count:
        column = column.fill_null(_arrow(np.array([null])).cast(column.type)[0])
    return np.from_dlpack(column.combine_chunks())
