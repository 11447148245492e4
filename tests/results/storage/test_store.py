import dataclasses
import os
import re
import typing
from pathlib import Path

import duckdb
import pandas
import polars
import pytest

from lossearch.results.ranking.row import Row
from lossearch.results.records import Evaluation
from lossearch.results.storage import tables as record_tables
from lossearch.results.storage.store import EvaluationStore
from lossearch.results.storage.tables import NewerFile, read_records, write_records
from tests.results.helpers import evaluation, refused

MANY = [
    evaluation("ce(z)", 0),
    evaluation("ce(z)", 1, 0.8),
    refused("p"),
    evaluation("mean_c(p)", 0, parents=("a", "b")),
]


def test_appended_evaluations_are_read_back_in_order(tmp_path):
    parts = EvaluationStore(tmp_path / "evaluations")
    parts.append(MANY[:2])
    parts.append([])
    parts.append(MANY[2:])
    assert parts.read() == (MANY, [])
    assert sorted(path.name for path in (tmp_path / "evaluations").iterdir()) == ["000001.parquet", "000002.parquet"]


def test_an_evaluation_that_was_written_twice_is_read_once(tmp_path):
    parts = EvaluationStore(tmp_path)
    parts.append(MANY)
    parts.append(MANY[1:3])
    assert parts.read()[0] == MANY


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_a_damaged_part_is_named_and_the_others_are_read(tmp_path, damage):
    parts = EvaluationStore(tmp_path)
    parts.append(MANY[:1])
    parts.append(MANY[1:])
    broken = tmp_path / "000001.parquet"
    content = broken.read_bytes()
    broken.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"not parquet"}[damage])
    evaluations, (reported,) = parts.read()
    assert evaluations == MANY[1:]
    assert reported.path == broken
    assert "000001.parquet: expected a whole Parquet file, got:" in reported.reason
    kept = parts.set_aside(reported)
    assert kept.exists()
    assert parts.read() == (MANY[1:], [])
    parts.append(MANY[:1])
    assert sorted(path.name for path in tmp_path.iterdir())[-1] == "000003.parquet"


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_tables.pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        EvaluationStore(tmp_path).append(MANY)
    assert list(tmp_path.iterdir()) == []


def test_a_part_appears_under_its_name_only_when_it_is_complete(tmp_path, monkeypatch):
    names = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (names.append(sorted(os.listdir(tmp_path))), replace(a, b)))
    EvaluationStore(tmp_path).append(MANY)
    assert len(names) == len(names[0]) == 1
    assert re.fullmatch(r"\.000001\.parquet\.[0-9a-f]{16}\.writing", names[0][0])


def test_the_first_versions_file_always_loads():
    """Version 0.1.0 wrote the file; it must never be written again."""
    evaluations = read_records(Path(__file__).parent / "evaluations_v1.parquet", Evaluation)
    assert [evaluation.status for evaluation in evaluations] == ["evaluated", "evaluated", "rejected", "evaluated"]
    assert [evaluation.fitness for evaluation in evaluations] == [0.9, 0.8, None, 0.9]
    assert evaluations[3].parents == ("a", "b")


def test_columns_that_an_older_file_lacks_are_null(tmp_path):
    kept = [field for field in dataclasses.fields(Evaluation) if field.name not in ("seconds", "reason")]
    hints = typing.get_type_hints(Evaluation)
    older = dataclasses.make_dataclass("Older", [(field.name, hints[field.name]) for field in kept])
    records = [older(**{field.name: getattr(evaluation, field.name) for field in kept}) for evaluation in MANY[:2]]
    write_records(tmp_path / "old.parquet", older, records)
    assert read_records(tmp_path / "old.parquet", Evaluation) == [
        dataclasses.replace(evaluation, seconds=None) for evaluation in MANY[:2]
    ]


def test_a_file_of_a_newer_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(record_tables, "SCHEMA_VERSION", 99)
    write_records(tmp_path / "new.parquet", Evaluation, MANY)
    monkeypatch.undo()
    with pytest.raises(NewerFile, match="written with schema version 99"):
        read_records(tmp_path / "new.parquet", Evaluation)


def test_other_readers_open_the_files(tmp_path):
    parts = EvaluationStore(tmp_path)
    parts.append(MANY[:2])
    parts.append(MANY[2:])
    pattern = str(tmp_path / "*.parquet")
    worst = duckdb.sql(f"select formula, fitness from '{pattern}' order by fitness nulls last limit 1").fetchall()
    assert worst == [("ce(z)", 0.8)]
    frame = polars.read_parquet(pattern)
    assert frame["fitness"].null_count() == 1
    assert frame.filter(polars.col("formula") == "mean_c(p)")["parents"].to_list() == [["a", "b"]]
    table = pandas.read_parquet(tmp_path)
    assert table["status"].tolist() == [evaluation.status for evaluation in MANY]
    assert table["fitness"].dtype == "float64"


def test_the_types_of_columns_are_fixed_even_if_all_values_are_null(tmp_path):
    write_records(tmp_path / "nulls.parquet", Evaluation, [refused("p")])
    columns = duckdb.sql(f"describe select * from '{tmp_path}/nulls.parquet'").fetchall()
    types = {name: kind for name, kind, *_ in columns}
    assert (types["fitness"], types["seed"], types["parents"]) == ("DOUBLE", "BIGINT", "VARCHAR[]")


def test_an_empty_leaderboard_has_its_columns(tmp_path):
    write_records(tmp_path / "leaderboard.parquet", Row, [])
    assert set(polars.read_parquet(tmp_path / "leaderboard.parquet").columns) == {
        f.name for f in dataclasses.fields(Row)
    }
