"""Parquet files of records: append-only parts with one writer, each written whole or not at all.

Invariant: a file under its final name is complete. Parts are written under a name that starts with a dot and
does not end in .parquet, synced, and renamed; nothing that was recorded is ever changed or removed.
"""

import os
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from primitives.nearest import shown
from results.atomic import write_whole
from results.records import SCHEMA_VERSION, Evaluation, Measurement

_VERSION_KEY = b"lossearch.schema_version"


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
    schema = _schema(record_type)
    columns = {field.name: [] for field in schema}  # type: dict[str, list[Any]]
    for record in records:
        for name, column in columns.items():
            value = getattr(record, name)
            column.append(list(value) if isinstance(value, tuple) else value)
    table = pa.Table.from_pydict(columns, schema=schema)
    write_whole(path, lambda temporary: pq.write_table(table, str(temporary), compression="zstd"))


def read_records(path: Path, record_type: type) -> list[Any]:
    """Read the records of a Parquet file; columns that an older file lacks are null.

    Raises DamagedFile where the file is no whole Parquet file of such records, NewerFile where a newer version
    wrote it, OSError where it cannot be read just now.
    """
    schema = _schema(record_type)
    try:
        # By path and without threads: a threaded read of a Python file object can abort the process when it
        # ends (apache/arrow issues 33975 and 50482).
        with pq.ParquetFile(str(path), pre_buffer=False) as file:
            table = file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _damaged(path, "a whole Parquet file", str(error).splitlines()[0]) from None
    written = (table.schema.metadata or {}).get(_VERSION_KEY, b"0")
    version = int(written[:9]) if written.isdigit() else 0
    if version > SCHEMA_VERSION:
        raise NewerFile(
            f"{path}: written with schema version {version}, this lossearch reads up to {SCHEMA_VERSION}. Upgrade it."
        )
    try:
        columns = {
            field.name: table[field.name].cast(field.type).to_pylist()
            if field.name in table.column_names
            else [[] if pa.types.is_list(field.type) else None] * len(table)
            for field in schema
        }
        names = list(columns)
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return [record_type(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}) for row in rows]
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, f"rows of {record_type.__name__}", str(error)) from None


def _damaged(path: Path, expected: str, got: str) -> DamagedFile:
    """The error about a file, whose name and contents may be a stranger's."""
    return DamagedFile(f"{shown(str(path), limit=1_000)}: expected {expected}, got: {shown(got, limit=200)}")


def to_pandas(record_type: type, records: Sequence[Any]) -> Any:
    """The records as a pandas data frame; ImportError with what to do where pandas is not installed."""
    try:
        import pandas  # noqa: F401  (pyarrow needs it, and says so less clearly)
    except ImportError:
        raise ImportError("to_pandas needs pandas: pip install pandas") from None
    schema = _schema(record_type)
    columns = {
        field.name: [list(v) if isinstance(v := getattr(r, field.name), tuple) else v for r in records]
        for field in schema
    }
    return pa.Table.from_pydict(columns, schema=schema).to_pandas()


Record = TypeVar("Record", bound=Evaluation | Measurement)


class RecordStore(Generic[Record]):
    """The records of a run: a directory of parts, ``000001.parquet`` and so on.

    The first field of a record is its identity.
    """

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
        found: dict[str, Record] = {}
        damages = []
        for path in sorted(self._directory.glob("[0-9]*.parquet")):
            try:
                records = read_records(path, self._type)
            except DamagedFile as error:
                damages.append(Damage(path, str(error)))
                continue
            for record in records:
                found.setdefault(getattr(record, self._identity), record)
        return list(found.values()), damages

    def set_aside(self, damage: Damage) -> Path:
        """Rename a damaged part so that readers skip it; it is kept."""
        kept = damage.path.with_name(damage.path.name + ".damaged")
        os.replace(damage.path, kept)
        return kept


class EvaluationStore(RecordStore[Evaluation]):
    """The evaluations of a search."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, Evaluation)


def _schema(record_type: type) -> pa.Schema:
    """The Parquet schema of a dataclass, from its annotations."""
    hints = typing.get_type_hints(record_type)
    columns = [pa.field(each.name, *_column(hints[each.name])) for each in fields(record_type)]
    return pa.schema(columns, metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode()})


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
