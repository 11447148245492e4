"""Objects of an Arrow table's rows: what is stored as columns, as the dataclass it was written from.

Invariant: lists are tuples; a text that stands in many rows is one object where the column keeps distinct ones.
"""

from collections.abc import Iterator
from dataclasses import fields
from itertools import accumulate, pairwise
from typing import Any, TypeVar

Record = TypeVar("Record")


def objects(record_type: type[Record], table: Any, checked: bool = False) -> list[Record]:
    """A record of each row; ValueError where one may not be. ``checked`` says that all may."""
    names = [each.name for each in fields(record_type)]  # type: ignore[arg-type]
    rows = zip(*(_values(table.column(name).combine_chunks()) for name in names), strict=True)
    return [_unchecked(record_type, names, row) for row in rows] if checked else [record_type(*row) for row in rows]


def _unchecked(record_type: type[Record], names: list[str], row: tuple[Any, ...]) -> Record:
    """A record whose columns were checked: to check every one again takes three quarters of the time."""
    record = object.__new__(record_type)
    vars(record).update(zip(names, row, strict=True))
    return record


def _values(column: Any) -> list[Any]:
    if hasattr(column, "dictionary"):
        return _texts(column)
    return list(_tuples(column)) if hasattr(column, "value_lengths") else column.to_pylist()


def _texts(column: Any) -> list[str | None]:
    if len(column.dictionary) > 2 * len(column):
        return column.dictionary_decode().to_pylist()
    distinct = column.dictionary.to_pylist()
    return [None if code is None else distinct[code] for code in column.indices.to_pylist()]


def _tuples(column: Any) -> Iterator[tuple[Any, ...] | None]:
    flat, lengths = _values(column.flatten()), column.value_lengths().to_pylist()
    for length, (start, end) in zip(
        lengths, pairwise(accumulate((each or 0 for each in lengths), initial=0)), strict=True
    ):
        yield None if length is None else tuple(flat[start:end])
