"""Parquet files that unpack to more than their metadata say, or whose metadata disagree, are refused unread."""

import io
import itertools
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lossearch.primitives.errors import UserError
from lossearch.results.records import Evaluation
from lossearch.results.storage import tables
from lossearch.results.storage.parquet_pages import unpacked_sizes
from lossearch.results.storage.store import EvaluationStore
from lossearch.results.storage.tables import MAX_TEXT, TooLarge, schema_of, write_records
from tests.results.helpers import evaluation


def varint(number, width=0):
    """Return a signed number as Thrift's compact protocol has it, at least `width` bytes long."""
    number = (number << 1) ^ (number >> 63)
    groups = [number >> shift & 127 for shift in range(0, max(7 * width, number.bit_length(), 1), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def packed(table, **options):
    content = io.BytesIO()
    pq.write_table(table, content, **options)
    return content.getvalue()


def declared(content, old, new):
    """Replace a number in the footer of a file by another that is as long."""
    (length,) = struct.unpack("<I", content[-8:-4])
    footer, written = content[-8 - length :], varint(old)
    assert written in footer
    return content[: -8 - length] + footer.replace(written, varint(new, len(written)), 1)


def table_of(rows, **columns):
    record = evaluation("ce(z) + y", 0, 0.9)
    values = {name: getattr(record, name) for name in schema_of(Evaluation).names if name != "parents"} | columns
    return pa.table(
        {
            name: value if isinstance(value, pa.Array) else pa.repeat(pa.scalar(value), rows)
            for name, value in values.items()
            if value is not None
        }
    )


def damage(tmp_path, content):
    (tmp_path / "000001.parquet").write_bytes(content)
    records, damages = EvaluationStore(tmp_path).read()
    assert (records, len(damages)) == ([], 1)
    return damages[0].reason


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
def test_headers_of_pages_add_up_to_what_the_metadata_say(compression, version):
    texts = pa.array([f"ce(z)*{number}" * 200 for number in range(100)])
    for use_dictionary, data_page_size in itertools.product((False, True), (500, None)):
        content = packed(
            table_of(100, formula=texts, parents=pa.array([["a", None]] * 100)),
            compression=compression,
            data_page_version=version,
            use_dictionary=use_dictionary,
            data_page_size=data_page_size,
            write_page_checksum=True,
            write_page_index=True,
        )
        group = pq.read_metadata(io.BytesIO(content)).row_group(0)
        for chunk in map(group.column, range(group.num_columns)):
            start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            sizes = unpacked_sizes(memoryview(content)[start : start + chunk.total_compressed_size])
            assert sum(sizes) == chunk.total_uncompressed_size


def test_a_page_that_unpacks_to_more_than_the_metadata_say_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_require_short_texts", None)  # is not reached
    content = packed(table_of(1, formula=pa.array(["a" * 3_000_000])), compression="zstd")
    group = pq.read_metadata(io.BytesIO(content)).row_group(0)
    chunk = next(chunk for chunk in map(group.column, range(group.num_columns)) if chunk.path_in_schema == "formula")
    forged = declared(content, chunk.total_uncompressed_size, 100)
    assert "pages of formula that are larger than the file says" in damage(tmp_path, forged)


@pytest.mark.parametrize("group", [1_000, 300])
def test_rows_that_the_metadata_conceal_are_refused(tmp_path, group):
    content = packed(table_of(1_000), row_group_size=group)
    assert "1 rows, and 1,000 in its groups" in damage(tmp_path, declared(content, 1_000, 1))


def test_values_that_the_metadata_of_a_group_conceal_are_refused(tmp_path):
    content = packed(table_of(1_000), row_group_size=1_000, write_statistics=False)
    forged = declared(declared(content, 1_000, 1), 1_000, 1)  # of the file, and of the first column
    assert "1 values of evaluation_id in 1,000 rows" in damage(tmp_path, forged.replace(b"\0PAR2", b"\0PAR1"))


def test_lists_texts_and_columns_beyond_a_bound_are_refused(tmp_path, monkeypatch):
    assert "1,048,577 bytes in a text of formula" in damage(
        tmp_path, packed(table_of(1, formula=pa.array(["a" * (MAX_TEXT + 1)])))
    )
    monkeypatch.setattr(tables, "MAX_LISTED", 1_000)
    crowded = table_of(1).append_column("parents", pa.array([["a"] * 1_001]))
    with pytest.raises(TooLarge, match=r"1,001 values in lists, and 1,000 may be read"):
        damage(tmp_path, packed(crowded))
    monkeypatch.setattr(tables, "MAX_UNPACKED", 1_000)
    with pytest.raises(TooLarge, match=r"bytes, and 1,000 may be read"):
        damage(tmp_path, packed(table_of(1)))


def test_a_run_beyond_the_bounds_is_named_whole_and_read_when_the_user_allows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_LISTED", 1_000)
    for number in range(3):
        record = evaluation(evaluation_id=f"{number:010}", parents=("a",) * 400)
        write_records(tmp_path / f"00000{number + 1}.parquet", Evaluation, [record])
    with pytest.raises(TooLarge, match=r"LOSSEARCH_MAX_ROWS=6000000"):
        EvaluationStore(tmp_path).read()
    assert len(list(tmp_path.iterdir())) == 3  # nothing is set aside
    monkeypatch.setenv("LOSSEARCH_MAX_ROWS", "6000000")
    records, damages = EvaluationStore(tmp_path).read()
    assert (len(records), damages) == (3, [])
    monkeypatch.setenv("LOSSEARCH_MAX_ROWS", "many")
    with pytest.raises(UserError, match="expected a whole number, got 'many'"):
        EvaluationStore(tmp_path).read()


def test_a_file_that_is_mostly_a_hole_is_refused_unread(tmp_path):
    content, size = packed(table_of(1)), 2**28
    with open(tmp_path / "000001.parquet", "wb") as file:
        file.write(b"PAR1")
        file.seek(size - len(content))
        file.write(content)
    (found,) = EvaluationStore(tmp_path).read()[1]
    assert f"{size:,} bytes, and " in found.reason


@pytest.mark.parametrize("content", [b"\x15", b"\x15\xff", b"\x1c" * 50, b"\xff" * 40, b"\x19\x15\x00", b"\x00\x00"])
def test_what_is_no_header_of_a_page_is_an_error(content):
    with pytest.raises(ValueError, match="a page without a"):
        list(unpacked_sizes(memoryview(content)))
