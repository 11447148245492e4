"""Tables of records, as they are written to Parquet files and read from them.

Invariant: a file under its final name is whole. A table has the columns that the annotations of its records' dataclass
say, also where an older version wrote the file; one of a newer version is refused.
"""

import os
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from lossearch.primitives.errors import LossearchError, shown
from lossearch.results.records import SCHEMA_VERSION
from lossearch.results.storage.atomic import write_whole

TEXT = pa.dictionary(pa.int32(), pa.string())  #: of a column in memory: the distinct texts, and which each is
_VERSION_KEY = b"lossearch.schema_version"

# Parts are read into memory of the system's allocator: with pyarrow's own, a million evaluations take a quarter longer.
if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
    pa.set_memory_pool(pa.system_memory_pool())


class DamagedFile(LossearchError):
    """A Parquet file that cannot be read; the message names the file and what is wrong."""


class NewerFile(LossearchError):
    """A file of a newer version of lossearch; the message names it."""


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
    table = read_table(path, record_type)
    try:
        return objects(record_type, table)
    except (ValueError, TypeError) as error:
        raise _damaged(path, f"rows of {record_type.__name__}", str(error)) from None


def read_table(path: Path, record_type: type) -> pa.Table:
    """The columns of a file, of the types that they have in memory; the records are not checked."""
    schema = schema_of(record_type)
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
    distinct = {pa.string(): TEXT, pa.list_(pa.string()): pa.list_(TEXT)}
    return {each.name: distinct.get(each.type, each.type) for each in schema_of(record_type)}


def _path_in_file(field: pa.Field) -> str:
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name


def _conformed(table: pa.Table, record_type: type) -> pa.Table:
    """The columns as they are kept in memory, of one chunk each; KeyError where one stands twice."""
    there, kept = set(table.column_names), _kept(record_type)
    columns = {}
    for field in schema_of(record_type):
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


def table_in_memory(record_type: type, records: Iterable[Any]) -> pa.Table:
    """The records as the table that a file of them is read as."""
    return _conformed(_table_of(record_type, records), record_type)


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
    schema = schema_of(record_type).with_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode()})
    columns = {field.name: [] for field in schema}  # type: dict[str, list[Any]]
    for record in records:
        for name, column in columns.items():
            value = getattr(record, name)
            column.append(list(value) if isinstance(value, tuple) else value)
    return pa.Table.from_pydict(columns, schema=schema)


@cache
def schema_of(record_type: type) -> pa.Schema:
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


# --- Objects of an Arrow table's rows: what is stored as columns, as the dataclass it was written from.
#
# Invariant: lists are tuples; a text that stands in many rows is one object where the column keeps distinct ones.

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


# --- Record folder: what belongs together as a Parquet file for each kind of record.
#
# Invariant: ``form.parquet`` is written last, so that where it is, the others are whole.

FORM = "form.parquet"


def write_folder(folder: Path, form: Any, kinds: Mapping[str, type], whole: Any) -> None:
    """Replace the files of a folder: a form, and records of each kind, which are attributes of the whole."""
    for name, kind in kinds.items():
        write_records(folder / f"{name}.parquet", kind, getattr(whole, name))
    write_records(folder / FORM, type(form), [form])


def read_folder(folder: Path, form_kind: type, kinds: Mapping[str, type]) -> dict[str, Any] | None:
    """The form, and the records of each kind, by name; None where there is no form. Raises DamagedFile, NewerFile."""
    if not (folder / FORM).is_file():
        return None
    found: dict[str, Any] = {
        name: read_records(folder / f"{name}.parquet", kind) if (folder / f"{name}.parquet").is_file() else []
        for name, kind in kinds.items()
    }
    forms = read_records(folder / FORM, form_kind)
    return {"form": forms[0], **found} if forms else None
