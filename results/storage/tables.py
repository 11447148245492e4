"""Tables of records, as Parquet files hold them.

Invariant: a file under its final name is complete. A table has one column for each annotated field of the records'
dataclass, also if an older version wrote the file; a file of a newer version is refused.
"""

import math
import os
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lossearch.primitives.errors import LossearchError, MissingPackage, UserError, shown
from lossearch.results.records import SCHEMA_VERSION
from lossearch.results.storage.atomic import write_whole
from lossearch.results.storage.parquet_pages import unpacked_sizes
from lossearch.results.storage.run_files import MAX_PARQUET, ForeignFile, open_run_file, shown_path

#: Most rows of a file, and of all parts of a run together: a search of a year on a thousand cores has a fifth of them.
MAX_ROWS = 3_000_000

#: Environment variable with another number of rows. The limits on bytes and lists grow with it.
ALLOWED_ROWS = "LOSSEARCH_MAX_ROWS"

#: Most values in the lists of a file, and of all parts of a run together.
MAX_LISTED = 30_000_000

#: Most bytes of a file's columns when they are unpacked, and of all parts of a run together.
MAX_UNPACKED = 2**28

#: Columns below this size in bytes do not have the headers of their pages checked.
_SMALL_CHUNK = 2**18

#: Most bytes of one text.
MAX_TEXT = 2**20

#: Most pieces of columns of one file.
MAX_CHUNKS = 100_000

#: Most records that are built of one file at once.
MAX_RECORDS = 1_000_000

#: Most rows of a file that a report draws.
MAX_DRAWN = 100_000

#: Type of a text column in memory: the distinct texts, and the index of each row's text.
TEXT = pa.dictionary(pa.int32(), pa.string())

#: File of a record folder that is written last: where it is, the others are complete.
FORM = "form.parquet"

_VERSION_KEY = b"lossearch.schema_version"

Record = TypeVar("Record")

# Parts are read into memory of the system's allocator: with pyarrow's own, a million evaluations take a quarter longer.
if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
    pa.set_memory_pool(pa.system_memory_pool())


class DamagedFile(LossearchError):
    """A Parquet file that cannot be read; the message names the file and the fault."""


class TooLarge(DamagedFile):
    """Files that hold more than may be read; the message says how to allow more. They may well be sound."""


class NewerFile(LossearchError):
    """A file of a newer version of lossearch; the message names it."""


# Files of records.


def write_records(path: Path, record_type: type, records: Iterable[Any]) -> None:
    """Write records of one dataclass as a Parquet file, atomically: readers see the whole file or none."""
    table = _table_of(record_type, records)
    content = pa.BufferOutputStream()
    # Snappy files are half as large again as zstd files, and read in two thirds of the time. A damaged page is found by
    # its checksum.
    pq.write_table(table, content, compression="snappy", write_page_checksum=True)
    write_whole(path, content.getvalue().to_pybytes())


class RowBudget:
    """What may still be read of files that belong together; several threads may share it.

    ``rows`` is the limit unless the environment variable ``ALLOWED_ROWS`` allows more.
    """

    def __init__(self, rows: int) -> None:
        scale = max(1, math.ceil(_allowed_rows() / MAX_ROWS))
        self._allowed = {
            "rows": max(rows, _allowed_rows()),
            "values in lists": min(MAX_LISTED, 100 * rows) * scale,
            "bytes": MAX_UNPACKED * scale,
        }
        self._left, self._lock = dict(self._allowed), Lock()

    def take(self, rows: int, listed: int, unpacked: int) -> None:
        """Count rows, values in lists and bytes that are about to be read. Raises _Exceeded if there are too many."""
        with self._lock:
            for (what, left), wanted in zip(self._left.items(), (rows, listed, unpacked), strict=True):
                if not 0 <= wanted <= left:
                    raise _Exceeded(
                        f"{wanted:,} {what}, and {self._allowed[what]:,} may be read. If you trust these files, allow "
                        f"more: {ALLOWED_ROWS}={2 * max(MAX_ROWS, rows, _allowed_rows())}"
                    )
            for what, wanted in zip(self._allowed, (rows, listed, unpacked), strict=True):
                self._left[what] -= wanted


class _Exceeded(ValueError):
    """Files hold more than a budget allows."""


def _allowed_rows() -> int:
    """Return the rows that the user allows beyond the limits; 0 without a wish."""
    wish = os.environ.get(ALLOWED_ROWS, "0")
    if not wish.isdecimal():
        raise UserError(f"{ALLOWED_ROWS}: expected a whole number, got {shown(repr(wish))}.")
    return int(wish[:12])


def read_records(path: Path, record_type: type, max_rows: int = MAX_RECORDS) -> list[Any]:
    """Read the records of a Parquet file; columns that an older file lacks are null.

    Raises DamagedFile if the file is not a complete Parquet file of valid records, NewerFile if a newer version wrote
    it, OSError if the disk fails.
    """
    table = read_table(path, record_type, RowBudget(max_rows))
    try:
        return objects(record_type, table)
    except (ValueError, TypeError) as error:
        raise DamagedFile(describe_damage(path, f"rows of {record_type.__name__}", str(error))) from None


def read_table(path: Path, record_type: type, budget: RowBudget | None = None) -> pa.Table:
    """Read the columns of a file, in their types in memory, without checking the rules of the records.

    Raises as ``read_records`` does.
    """
    schema = schema_of(record_type)
    try:
        in_file = _read_columns(path, schema.names, budget or RowBudget(MAX_ROWS))
    except ForeignFile as error:
        raise DamagedFile(str(error)) from None
    except _Exceeded as error:
        raise TooLarge(describe_damage(path, "fewer rows and values", str(error))) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedFile(describe_damage(path, "a whole Parquet file", str(error).splitlines()[0])) from None
    written = (in_file.schema.metadata or {}).get(_VERSION_KEY, b"0")
    version = int(written[:9]) if written.isdigit() else 0
    if version > SCHEMA_VERSION:
        raise NewerFile(
            f"{path}: expected a schema version of at most {SCHEMA_VERSION}, got a file written with schema version "
            f"{version}. Upgrade lossearch."
        )
    try:
        table = _conform(in_file, record_type)
        table.validate(full=True)  # finds bytes in text columns that are no UTF-8
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise DamagedFile(describe_damage(path, f"rows of {record_type.__name__}", str(error))) from None
    return table


def describe_damage(path: Path, expected: str, got: str) -> str:
    """Describe a damaged file in printable text; its name and contents may come from a stranger."""
    return f"{shown_path(path)}: expected {expected}, got: {shown(got.rstrip('.'), limit=200)}"


def to_pandas(record_type: type, records: Sequence[Any]) -> Any:
    """Return the records as a pandas data frame. Raises MissingPackage, an ImportError, if pandas is not installed."""
    try:
        import pandas  # noqa: F401  (pyarrow needs it, and its own error is less clear)
    except ImportError:
        raise MissingPackage("Expected pandas for to_pandas, got none. Install it: pip install pandas") from None
    return _table_of(record_type, records).to_pandas()


# Folders of files: a form, and records of several kinds that belong to it.


def write_folder(folder: Path, form: Any, kinds: Mapping[str, type], whole: Any) -> None:
    """Replace the files of a folder with a form and the records of each kind, which are attributes of ``whole``."""
    for name, kind in kinds.items():
        write_records(folder / f"{name}.parquet", kind, getattr(whole, name))
    write_records(folder / FORM, type(form), [form])


def read_folder(folder: Path, form_kind: type, kinds: Mapping[str, type]) -> dict[str, Any] | None:
    """Read the form and the records of each kind, by name; None if there is no form.

    Raises DamagedFile and NewerFile.
    """
    if not (folder / FORM).exists():
        return None
    records: dict[str, Any] = {
        name: read_records(folder / f"{name}.parquet", kind, MAX_DRAWN) if (folder / f"{name}.parquet").exists() else []
        for name, kind in kinds.items()
    }
    forms = read_records(folder / FORM, form_kind, MAX_DRAWN)
    return {"form": forms[0], **records} if forms else None


# From a dataclass to columns.


@cache
def schema_of(record_type: type) -> pa.Schema:
    """Return the Parquet schema of a dataclass, from its annotations."""
    hints = typing.get_type_hints(record_type)
    columns = [pa.field(field.name, *_column_type(hints[field.name])) for field in fields(record_type)]
    return pa.schema(columns)


def _column_type(annotation: Any) -> tuple[pa.DataType, bool]:
    """Return the type of a column, and True if it may hold nulls."""
    options = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType) and type(None) in options:
        (inner,) = [option for option in options if option is not type(None)]
        return _column_type(inner)[0], True
    if typing.get_origin(annotation) is tuple:
        return pa.list_(_column_type(options[0])[0]), False
    if typing.get_origin(annotation) is typing.Literal:
        return pa.string(), False
    return {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[annotation], False


def table_in_memory(record_type: type, records: Iterable[Any]) -> pa.Table:
    """Return records as the table that ``read_table`` would give for a file of them."""
    return _conform(_table_of(record_type, records), record_type)


def _table_of(record_type: type, records: Iterable[Any]) -> pa.Table:
    """Return records as the table that is written to a file."""
    schema = schema_of(record_type).with_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode()})
    columns: dict[str, list[Any]] = {field.name: [] for field in schema}
    for record in records:
        for name, column in columns.items():
            value = getattr(record, name)
            column.append(list(value) if isinstance(value, tuple) else value)
    return pa.Table.from_pydict(columns, schema=schema)


# From a file to columns in memory.


@cache
def _types_in_memory(record_type: type) -> dict[str, pa.DataType]:
    """Return the types of the columns in memory by name: texts are kept as indices of the distinct texts."""
    distinct = {pa.string(): TEXT, pa.list_(pa.string()): pa.list_(TEXT)}
    return {field.name: distinct.get(field.type, field.type) for field in schema_of(record_type)}


def _read_columns(path: Path, names: Sequence[str], budget: RowBudget) -> pa.Table:
    """Read the columns of these names that the file has; texts as indices of the distinct texts.

    Raises ValueError if the file holds more than a run may, before any column is read.
    """
    with open_run_file(path, MAX_PARQUET) as file:
        size = file.seek(0, os.SEEK_END)
        metadata = pq.read_metadata(pa.PythonFile(file, "r"))
        columns = [metadata.schema.column(number) for number in range(metadata.num_columns)]
        known = {column.path: column for column in columns if column.path.split(".")[0] in names}
        budget.take(*_declared_size(metadata, known, size))
        file.seek(0)
        content = file.read(size)
    _require_declared_pages(metadata, known, memoryview(content))
    with pq.ParquetFile(
        pa.BufferReader(pa.py_buffer(content)),
        metadata=metadata,
        pre_buffer=False,
        # A long text that many rows share would fill the memory if each row had its own.
        read_dictionary=[path for path, column in known.items() if column.physical_type == "BYTE_ARRAY"],
        page_checksum_verification=True,  # older files have no checksums, and are read without
    ) as parquet:
        return parquet.read(columns=list(known), use_threads=False)


def _declared_size(metadata: Any, known: Mapping[str, Any], size: int) -> tuple[int, int, int]:
    """Return the numbers of rows, of values in lists and of unpacked bytes that a file declares for known columns.

    Raises ValueError where its parts disagree: readers go by the numbers of single columns.
    """
    num_columns, num_groups = metadata.num_columns, metadata.num_row_groups
    if num_columns * num_groups > MAX_CHUNKS:
        raise ValueError(f"{num_columns:,} columns in {num_groups:,} groups of rows")
    rows = listed = unpacked = packed = 0
    for number in range(num_groups):
        group = metadata.row_group(number)
        rows += group.num_rows
        for chunk in map(group.column, range(num_columns)):
            packed += chunk.total_compressed_size
            column = known.get(chunk.path_in_schema)
            if column is not None:
                unpacked += chunk.total_uncompressed_size
                if column.max_repetition_level:
                    listed += chunk.num_values
                elif chunk.num_values != group.num_rows:
                    raise ValueError(f"{chunk.num_values:,} values of {column.name} in {group.num_rows:,} rows")
    if rows != metadata.num_rows:
        raise ValueError(f"{metadata.num_rows:,} rows, and {rows:,} in its groups")
    if size > 2 * (packed + metadata.serialized_size) + MAX_TEXT:
        raise ValueError(f"{size:,} bytes, and {packed:,} in its columns")
    return rows, listed, unpacked


def _require_declared_pages(metadata: Any, known: Mapping[str, Any], content: memoryview) -> None:
    """Raise ValueError for pages that unpack to more than the file's metadata say.

    Small chunks in snappy, as ``write_records`` writes, are not looked at: they unpack to 22 times their size at most.
    """
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(metadata.num_columns)):
            start, packed = chunk.data_page_offset, chunk.total_compressed_size
            if chunk.path_in_schema not in known or (chunk.compression == "SNAPPY" and packed < _SMALL_CHUNK):
                continue
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
                start = chunk.dictionary_page_offset
            if not 0 <= start <= start + packed <= len(content):
                raise ValueError(f"a column {chunk.path_in_schema} that lies outside the file")
            if sum(unpacked_sizes(content[start : start + packed])) > chunk.total_uncompressed_size:
                raise ValueError(f"pages of {chunk.path_in_schema} that are larger than the file says")


def _conform(table: pa.Table, record_type: type) -> pa.Table:
    """Return the columns in their types in memory, each of one chunk. Raises KeyError for a name of two columns."""
    names, in_memory = set(table.column_names), _types_in_memory(record_type)
    columns = {}
    for field in schema_of(record_type):
        column = table[field.name] if field.name in names else _missing_column(field.type, len(table))
        _require_short_texts(field.name, column)
        columns[field.name] = column if column.type == in_memory[field.name] else _cast(column, field.type)
    conformed = pa.table(columns)
    if all(column.num_chunks == 1 for column in columns.values()):
        return conformed
    return conformed.unify_dictionaries().combine_chunks()


def _require_short_texts(name: str, column: pa.ChunkedArray) -> None:
    """Raise ValueError for a column with a text of megabytes, which takes minutes to parse or to print."""
    for chunk in column.chunks:
        texts = chunk.flatten() if pa.types.is_list(chunk.type) else chunk
        texts = texts.dictionary if pa.types.is_dictionary(texts.type) else texts
        if pa.types.is_string(texts.type) or pa.types.is_binary(texts.type):
            longest = pc.max(pc.binary_length(texts)).as_py() or 0
            if longest > MAX_TEXT:
                raise ValueError(f"{longest:,} bytes in a text of {name}, and {MAX_TEXT:,} may be read")


def _missing_column(kind: pa.DataType, rows: int) -> pa.ChunkedArray:
    """Return the column that an older file lacks: nulls, or empty lists."""
    return pa.chunked_array([pa.array([[]] * rows, kind) if pa.types.is_list(kind) else pa.nulls(rows, kind)])


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Cast a column to its type. Raises ArrowException if a value does not fit."""
    column = column.cast(kind)
    return column.dictionary_encode() if pa.types.is_string(kind) else column


# From columns in memory to objects: lists become tuples, and equal texts of a column become one object.


def objects(record_type: type[Record], table: pa.Table, checked: bool = False) -> list[Record]:
    """Build a record of each row. Raises ValueError for an invalid one.

    ``checked`` says that the rules were checked by columns; to check each record again takes three quarters of the
    time.
    """
    names = [field.name for field in fields(record_type)]  # type: ignore[arg-type]
    rows = zip(*(_values(table.column(name).combine_chunks()) for name in names), strict=True)
    if checked:
        return [_build_unchecked(record_type, names, row) for row in rows]
    return [record_type(*row) for row in rows]


def _build_unchecked(record_type: type[Record], names: list[str], row: tuple[Any, ...]) -> Record:
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
    bounds = pairwise(accumulate((length or 0 for length in lengths), initial=0))
    for length, (start, end) in zip(lengths, bounds, strict=True):
        yield None if length is None else tuple(flat[start:end])
