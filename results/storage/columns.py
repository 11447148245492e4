"""Records as columns in memory: arrays of single fields, and objects of single records, on request.

Invariant: records keep the order in which they were written, and their columns never change.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lossearch.results.records import RULES, Evaluation, Measurement
from lossearch.results.storage.tables import TEXT, objects, schema_of, table_in_memory

#: Indices of records, groups or distinct texts.
Places = NDArray[Any]

#: One boolean for each record.
Flags = NDArray[np.bool_]

Record = TypeVar("Record", bound=Evaluation | Measurement)


@dataclass(frozen=True)
class Texts:
    """A column of texts: the distinct texts, and the index of each record's text, -1 for null."""

    codes: Places
    distinct: pa.StringArray  #: may hold texts of no record

    def values(self) -> list[str]:
        """Return the distinct texts in the order of their codes."""
        return self.distinct.to_pylist()

    def are(self, text: str) -> Flags:
        """Return True for the records that have this text."""
        return self.are_in([text])

    def are_in(self, texts: Sequence[str]) -> Flags:
        """Return True for the records that have one of these texts."""
        is_wanted = np.array([value in texts for value in self.values()] + [False])  # the last is for code -1
        is_listed: Flags = is_wanted[self.codes]
        return is_listed

    def sort(self, codes: Places) -> Places:
        """Return the indices that sort codes by their texts."""
        return np.from_dlpack(pc.array_sort_indices(self.distinct.take(_to_arrow(codes))))


class StoredRecords(Generic[Record]):
    """Records as columns, in the order written. It answers as ``records.Fields`` does, for all records at once."""

    def __init__(self, record_type: type[Record], tables: Iterable[pa.Table], kept: Places | None = None) -> None:
        kind: type = record_type
        self.record_type, self._schema = record_type, schema_of(kind)
        self._tables = [table for table in tables if len(table)]
        self._starts = np.cumsum([0, *map(len, self._tables)])
        self._kept = kept  #: rows of the tables that are records here; None for all
        self._texts: dict[str, Texts] = {}
        self._numbers: dict[str, tuple[NDArray[Any], Flags]] = {}

    @classmethod
    def of(cls, record_type: type[Record], records: Iterable[Record]) -> "StoredRecords[Record]":
        """Turn records that are in no file into columns."""
        return cls(record_type, [table_in_memory(record_type, records)])

    @classmethod
    def joined(cls, record_type: type[Record], parts: Iterable["StoredRecords[Record]"]) -> "StoredRecords[Record]":
        """Join parts that keep all their rows."""
        return cls(record_type, [table for part in parts for table in part._tables])

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._kept is None else len(self._kept)

    # Columns.

    def numbers(self, name: str) -> tuple[NDArray[Any], Flags]:
        """Return a column of numbers, with zero for null, and True where there is a number."""
        if name not in self._numbers:
            self._numbers[name] = self._select(_to_numpy(self._column(name))), self.has(name)
        return self._numbers[name]

    def texts(self, name: str) -> Texts:
        """Return a column of texts."""
        if name not in self._texts:
            chunks = self._column(name).unify_dictionaries().chunks
            codes = pa.chunked_array([chunk.indices for chunk in chunks], pa.int32())
            distinct = chunks[0].dictionary if chunks else pa.nulls(0, pa.string())
            self._texts[name] = Texts(self._select(_to_numpy(codes, -1)), distinct)
        return self._texts[name]

    def _column(self, name: str) -> pa.ChunkedArray:
        number, kind = self._schema.get_field_index(name), self._schema.field(name).type
        chunks = [table.column(number).chunk(0) for table in self._tables]
        return pa.chunked_array(chunks, TEXT if pa.types.is_string(kind) else kind)

    def _select(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self._kept is None else values[self._kept]

    # Rules.

    def broken_rule(self) -> str | None:
        """Return what a rule of ``records.RULES`` expects where a record breaks it, None where all are valid."""
        rules = RULES[self.record_type]
        return next((rule.expected for rule in rules if not np.all(rule.holds(self))), None)

    def has(self, name: str) -> Flags:
        """Return True for the records with a value in the column."""
        column = self._column(name)
        if not column.null_count:
            return np.ones(len(self), dtype=bool)
        return self._select(_to_numpy(column.is_valid().cast(pa.uint8())).view(np.bool_))

    def equals(self, name: str, text: str) -> Flags:
        """Return True for the records with this text in the column."""
        if any(text in texts for texts in self._distinct_texts(name)):
            return self.texts(name).are(text)
        return np.zeros(len(self), dtype=bool)  # spares joining the parts' texts

    def is_one_of(self, name: str, texts: Sequence[str]) -> Flags:
        """Return True for the records with one of these texts, or none, in the column."""
        if all(set(texts).issuperset(distinct) for distinct in self._distinct_texts(name)):
            return np.ones(len(self), dtype=bool)
        column = self.texts(name)
        return column.are_in(texts) | (column.codes < 0)

    def matches(self, name: str, pattern: str) -> bool:
        """Return True if all texts of the column match a regular expression as a whole."""
        whole = rf"\A(?:{pattern})\z"  # as RE2 writes it
        chunks = self._column(name).chunks
        return all(pc.all(pc.match_substring_regex(chunk.dictionary, whole)).as_py() is not False for chunk in chunks)

    def _distinct_texts(self, name: str) -> Iterator[list[str]]:
        """Yield the distinct texts of each part; some may be of no record."""
        for chunk in self._column(name).chunks:
            yield chunk.dictionary.to_pylist()

    def is_finite(self, name: str) -> bool:
        """Return True if all numbers of the column are finite."""
        return pc.all(pc.is_finite(self._column(name))).as_py() is not False

    def is_between(self, name: str, low: float, high: float) -> bool:
        """Return True if all numbers of the column are in [low, high]."""
        extremes = pc.min_max(self._column(name)).as_py()
        return extremes["min"] is None or (extremes["min"] >= low and extremes["max"] <= high)

    # Records.

    def once(self) -> "StoredRecords[Record]":
        """Drop the records whose identity, the first field, an earlier record has."""
        identity = self.texts(self._schema.names[0])
        if np.bincount(identity.codes).max(initial=0) <= 1:
            return self
        first = first_of_each(identity.codes, len(identity.distinct))
        return StoredRecords(self.record_type, self._tables, np.sort(first[first < len(self)]))

    def records(self, places: Places | None = None) -> list[Record]:
        """Return the records at some places in the order of the places; all records if there are no places."""
        rows = self._select(np.arange(self._starts[-1]))
        rows = rows if places is None else rows[places]
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(parts, kind="stable")
        bounds = np.searchsorted(parts[order], np.arange(len(self._tables) + 1))
        records: list[Record] = []
        for part in np.flatnonzero(np.diff(bounds)):
            rows_of_part = rows[order[bounds[part] : bounds[part + 1]]] - self._starts[part]
            records += objects(self.record_type, self._tables[part].take(_to_arrow(rows_of_part)), checked=True)
        return [records[place] for place in np.argsort(order).tolist()]


def first_of_each(groups: Places, count: int, among: Flags | None = None) -> Places:
    """Return the first place of each group, [count], among the places that ``among`` marks.

    ``groups`` has the group of each element, an index below ``count``. A group without a place has ``len(groups)``.
    """
    places = np.arange(len(groups)) if among is None else np.flatnonzero(among)
    first = np.full(count, len(groups))
    first[groups[places][::-1]] = places[::-1]  # where an index repeats, numpy keeps the last value
    return first


# Pyarrow's own conversions from and to numpy import pandas if it is installed. That takes as long as the ranking.


def _to_arrow(values: NDArray[Any]) -> pa.Array:
    """Turn numbers into an Arrow array that shares their memory."""
    whole = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(whole.dtype), len(whole), [None, pa.py_buffer(whole)])


def _to_numpy(column: pa.ChunkedArray, null: int = 0) -> NDArray[Any]:
    """Turn a column of numbers into an array, with ``null`` for nulls."""
    if column.null_count:
        column = column.fill_null(_to_arrow(np.array([null])).cast(column.type)[0])
    return np.from_dlpack(column.combine_chunks())
