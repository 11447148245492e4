"""Parquet files of records: append-only parts with one writer, each written whole or not at all.

Invariant: a file under its final name is complete. Parts are written under a name that starts with a dot and
does not end in .parquet, synced, and renamed; nothing that was recorded is ever changed or removed.
"""

import os
import types
import typing
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from primitives.nearest import shown
from results.arrow_objects import objects
from results.atomic import write_whole
from results.groups import Flags, Places, first_of_each
from results.records import SCHEMA_VERSION, Evaluation, Measurement
from results.soundness import are_sound

_VERSION_KEY = b"lossearch.schema_version"
_TEXT = pa.dictionary(pa.int32(), pa.string())  #: of a column in memory: the distinct texts, and which each is
_READERS = 2  #: threads

# Parts are read into memory of the system's allocator: with pyarrow's own, a million evaluations take a quarter longer.
if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
    pa.set_memory_pool(pa.system_memory_pool())


class DamagedFile(Exception):
    """A Parquet file that cannot be read; the message names the file and what is wrong."""


class NewerFile(Exception):
    """A file of a newer version of lossearch; the message names it."""


@dataclass(frozen=True)
class Damage:
    """One part that cannot be read."""

    path: Path
    reason: str


def write_records(path: Path, record_type: type, records: Iterable[Any]) -> None:
    """Write records of one dataclass as a Parquet file, atomically: readers see all of it or nothing."""
    table = _table_of(record_type, records)
    # Half as large again as with zstd, and read in two thirds of the time.
    write_whole(path, lambda temporary: pq.write_table(table, str(temporary), compression="snappy"))


def read_records(path: Path, record_type: type) -> list[Any]:
    """Read the records of a Parquet file; columns that an older file lacks are null.

    Raises DamagedFile where the file is no whole Parquet file of such records, NewerFile where a newer version
    wrote it, OSError where it cannot be read just now.
    """
    return _objects(path, record_type, _table(path, record_type))


def _objects(path: Path, record_type: type, table: pa.Table) -> list[Any]:
    try:
        return objects(record_type, table)
    except (ValueError, TypeError) as error:
        raise _damaged(path, f"rows of {record_type.__name__}", str(error)) from None


def _table(path: Path, record_type: type) -> pa.Table:
    """The columns of a file, of the types that they have in memory; the records are not checked."""
    schema = _schema(record_type)
    try:
        read = _read(path, [_path_in_file(each) for each in schema if each.type != _kept(record_type)[each.name]])
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _damaged(path, "a whole Parquet file", str(error).splitlines()[0]) from None
    written = (read.schema.metadata or {}).get(_VERSION_KEY, b"0")
    version = int(written[:9]) if written.isdigit() else 0
    if version > SCHEMA_VERSION:
        raise NewerFile(
            f"{path}: written with schema version {version}, this lossearch reads up to {SCHEMA_VERSION}. Upgrade it."
        )
    try:
        table = _conformed(read, record_type)
        table.validate(full=True)  # that texts are texts, among others
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise _damaged(path, f"rows of {record_type.__name__}", str(error)) from None
    return table


def _read(path: Path, texts: list[str]) -> pa.Table:
    """The columns of a file as they are there, those of texts by the distinct ones."""
    # By path and without threads: a threaded read of a Python file object can abort the process when it
    # ends (apache/arrow issues 33975 and 50482).
    try:
        with pq.ParquetFile(str(path), pre_buffer=False, read_dictionary=texts) as file:
            return file.read(use_threads=False)
    except KeyError:  # an older file lacks some of them
        return _read(path, [])


@cache
def _kept(record_type: type) -> dict[str, pa.DataType]:
    """The types that the columns have in memory."""
    distinct = {pa.string(): _TEXT, pa.list_(pa.string()): pa.list_(_TEXT)}
    return {each.name: distinct.get(each.type, each.type) for each in _schema(record_type)}


def _path_in_file(field: pa.Field) -> str:
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name


def _conformed(table: pa.Table, record_type: type) -> pa.Table:
    """The columns as they are kept in memory, of one chunk each; KeyError where one stands twice."""
    there, kept = set(table.column_names), _kept(record_type)
    columns = {}
    for field in _schema(record_type):
        column = table[field.name] if field.name in there else _missing(field.type, len(table))
        columns[field.name] = column if column.type == kept[field.name] else _cast(column, field.type)
    whole = pa.table(columns)
    return (
        whole if all(each.num_chunks == 1 for each in columns.values()) else whole.unify_dictionaries().combine_chunks()
    )


def _missing(kind: pa.DataType, rows: int) -> pa.ChunkedArray:
    """The column that an older file lacks."""
    return pa.chunked_array([pa.array([[]] * rows, kind) if pa.types.is_list(kind) else pa.nulls(rows, kind)])


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column of another type; ArrowException where a value is not of this one."""
    column = column.cast(kind)
    return column.dictionary_encode() if pa.types.is_string(kind) else column


def _damaged(path: Path, expected: str, got: str) -> DamagedFile:
    """The error about a file, whose name and contents may be a stranger's."""
    return DamagedFile(f"{shown(str(path), limit=1_000)}: expected {expected}, got: {shown(got, limit=200)}")


def to_pandas(record_type: type, records: Sequence[Any]) -> Any:
    """The records as a pandas data frame; ImportError with what to do where pandas is not installed."""
    try:
        import pandas  # noqa: F401  (pyarrow needs it, and says so less clearly)
    except ImportError:
        raise ImportError("to_pandas needs pandas: pip install pandas") from None
    return _table_of(record_type, records).to_pandas()


def _table_of(record_type: type, records: Iterable[Any]) -> pa.Table:
    """The records as a table that is written as it is."""
    schema = _schema(record_type).with_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode()})
    columns = {field.name: [] for field in schema}  # type: dict[str, list[Any]]
    for record in records:
        for name, column in columns.items():
            value = getattr(record, name)
            column.append(list(value) if isinstance(value, tuple) else value)
    return pa.Table.from_pydict(columns, schema=schema)


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
        self.record_type, self._schema = record_type, _schema(kind)
        self._tables = [each for each in tables if len(each)]
        self._starts = np.cumsum([0, *map(len, self._tables)])
        self._kept = kept  #: all, where there is None
        self._texts: dict[str, Texts] = {}
        self._numbers: dict[str, tuple[NDArray[Any], Flags]] = {}

    @classmethod
    def of(cls, record_type: type[Record], records: Iterable[Record]) -> "StoredRecords[Record]":
        """Records that are in no file."""
        return cls(record_type, [_conformed(_table_of(record_type, records), record_type)])

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
        return pa.chunked_array(chunks, _TEXT if pa.types.is_string(kind) else kind)

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


class RecordStore(Generic[Record]):
    """The records of a run: a directory of parts, ``000001.parquet`` and so on."""

    def __init__(self, directory: Path, record_type: type[Record]) -> None:
        self._directory, self._type = directory, record_type
        self._identity = fields(record_type)[0].name

    def append(self, records: Sequence[Record]) -> None:
        """Write one more part. Only the run's driver does."""
        if records:
            self._directory.mkdir(parents=True, exist_ok=True)
            numbers = [int(path.name.split(".")[0]) for path in self._directory.glob("[0-9]*.parquet*")]
            write_records(self._directory / f"{max(numbers, default=0) + 1:06d}.parquet", self._type, records)

    def read(self) -> tuple[list[Record], list[Damage]]:
        """Every record once, in the order written, and the parts that cannot be read."""
        found, damages = self.open()
        return found.records(), damages

    def open(self) -> tuple[StoredRecords[Record], list[Damage]]:
        """Every record once, in the order written, as columns, and the parts that cannot be read."""
        paths = sorted(self._directory.glob("[0-9]*.parquet"))
        with ThreadPoolExecutor(_READERS) as readers:
            parts = list(readers.map(self._part, paths))
            found = self._stored(parts)
            readers.submit(found.texts, self._identity)  # the longest step, while the others are taken
            sound = are_sound(found)
        if not sound:
            parts = [self._checked(path, part) for path, part in zip(paths, parts, strict=True)]
            found = self._stored(parts)
        return found.once(), [each for each in parts if isinstance(each, Damage)]

    def _stored(self, parts: Iterable["pa.Table | Damage"]) -> StoredRecords[Record]:
        return StoredRecords(self._type, [each for each in parts if not isinstance(each, Damage)])

    def _part(self, path: Path) -> "pa.Table | Damage":
        try:
            return _table(path, self._type)
        except DamagedFile as error:
            return Damage(path, str(error))

    def _checked(self, path: Path, part: "pa.Table | Damage") -> "pa.Table | Damage":
        """The part, or what is wrong with a record of it."""
        if isinstance(part, Damage) or are_sound(self._stored([part])):
            return part
        try:
            _objects(path, self._type, part)
        except DamagedFile as error:
            return Damage(path, str(error))
        return part

    def set_aside(self, damage: Damage) -> Path:
        """Rename a damaged part so that readers skip it; it is kept."""
        kept = damage.path.with_name(damage.path.name + ".damaged")
        os.replace(damage.path, kept)
        return kept


class EvaluationStore(RecordStore[Evaluation]):
    """The evaluations of a search."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, Evaluation)


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


@cache
def _schema(record_type: type) -> pa.Schema:
    """The Parquet schema of a dataclass, from its annotations."""
    hints = typing.get_type_hints(record_type)
    columns = [pa.field(each.name, *_column(hints[each.name])) for each in fields(record_type)]
    return pa.schema(columns)


def _column(annotation: Any) -> tuple[pa.DataType, bool]:
    """Type of a column, and whether it may hold nulls."""
    options = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType) and type(None) in options:
        (inner,) = [option for option in options if option is not type(None)]
        return _column(inner)[0], True
    if typing.get_origin(annotation) is tuple:
        return pa.list_(_column(options[0])[0]), False
    if typing.get_origin(annotation) is typing.Literal:
        return pa.string(), False
    return {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[annotation], False
