"""The leaderboard from columns equals the plain one, row for row, on evaluations of every kind."""

import dataclasses
import itertools
import statistics
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossearch.results.leaderboard import Leaderboard
from lossearch.results.ranking.fitness import means_of_runs
from lossearch.results.ranking.order import difference_noise
from lossearch.results.ranking.row import Row
from lossearch.results.ranking.rows import known_losses, leaderboard_rows
from lossearch.results.records import CLASS_WEIGHTS, METRICS, Evaluation
from lossearch.results.storage.store import EvaluationStore
from lossearch.results.storage.tables import read_records, write_records
from tests.results.helpers import evaluation, refused
from tests.results.ranking.plain_leaderboard import plain_counts, plain_noise, plain_rows

IDS = st.sampled_from(["a", "b", "a-b", "_", "b.0"])
TEXTS = st.sampled_from(["", "a", "b", "é", "\x00", "a\x00"])
FITNESS = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1 / 3, 0.7, 1.0]) | st.floats(0.0, 1.0)
STEPS = st.sampled_from([(None, None), (3, None), (None, 3), (0, 9), (3, 9), (9, 9), (-1, 9)])


@st.composite
def evaluations(draw):
    """Draw an evaluation of few losses, tasks and seeds, so that they coincide."""
    status = draw(st.sampled_from(["evaluated"] * 5 + ["rejected", "duplicate", "failed"]))
    steps, full_steps = draw(STEPS)
    return Evaluation(
        evaluation_id=draw(st.integers(0, 40).map(str)),
        loss_id=draw(IDS),
        formula=draw(TEXTS),
        complexity=draw(st.integers(1, 3)),
        task=draw(st.sampled_from(["digits"] * 4 + ["shapes", "faces"])),
        fidelity=draw(st.sampled_from(["short", "long"])),
        status=status,
        generation=draw(st.integers(0, 2)),
        birth=draw(st.sampled_from(["known", "point"])),
        birth_number=draw(st.integers(0, 9)),
        parents=tuple(draw(st.lists(TEXTS, max_size=2))),
        name=draw(st.sampled_from([None, None, None, "cross_entropy", "mse", ""])),
        class_weights=draw(st.sampled_from([None, *CLASS_WEIGHTS])),
        seed=draw(st.sampled_from([None, 0, 1, 2, 2**60, 2**60 + 1])),
        steps=steps,
        full_steps=full_steps,
        fitness=draw(FITNESS) if status == "evaluated" else None,
        metric=draw(st.sampled_from([None, *METRICS])),
        calibration=draw(st.none() | st.floats(0.0, 1e9)),
        reason=None if status == "evaluated" else draw(st.sampled_from(["flat", "like it"])),
        seconds=draw(st.none() | st.floats(0.0, 9.0)),
        finished_at=draw(st.sampled_from([None, "", "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"])),
    )


PARTS = st.lists(st.lists(evaluations(), max_size=8), max_size=5)


def stored(parts, folder):
    for part in parts:
        EvaluationStore(Path(folder) / "evaluations").append(part)
    (Path(folder) / "evaluations").mkdir(exist_ok=True)
    return Leaderboard(folder)


def once(parts):
    by_id = {}
    for record in itertools.chain.from_iterable(parts):
        by_id.setdefault(record.evaluation_id, record)
    return list(by_id.values())


@given(PARTS)
def test_a_leaderboard_equals_the_plain_one_row_for_row(parts):
    with tempfile.TemporaryDirectory() as folder:
        board = stored(parts, folder)
        expected = plain_rows(once(parts))
        assert board.evaluations == once(parts)
        assert list(board.rows) == expected
        assert board.rows == expected
        assert board.rows[::-2] == expected[::-2]
        assert board.ranked == sum(row.rank is not None for row in expected)
        assert board.counts() == Counter(row.status for row in expected)
        assert board.candidate_counts() == plain_counts(once(parts))
        assert known_losses(board.rows) == known_losses(expected) == [row for row in expected if row.name is not None]
        assert board.finished_at() == sorted(
            evaluation.finished_at for evaluation in once(parts) if evaluation.finished_at
        )
        assert board.difference_noise() == plain_noise(once(parts))
        assert read_records(board.write(), Row) == expected


@given(st.lists(evaluations(), max_size=12))
def test_evaluations_without_a_file_are_ranked_alike(records):
    assert leaderboard_rows(records) == plain_rows(records)
    assert difference_noise(records) == plain_noise(records)


@given(st.lists(st.lists(st.floats(0.0, 1.0), min_size=1), min_size=1))
def test_means_of_runs_are_the_mean_of_each_run(values):
    starts = np.cumsum([0, *map(len, values)])[:-1]
    assert means_of_runs(np.concatenate(values), starts) == pytest.approx([statistics.fmean(value) for value in values])


@given(st.permutations([0.1, 0.2, 0.3, 0.7, 1 / 3]))
def test_the_order_of_seeds_does_not_change_a_mean(values):
    assert means_of_runs(np.array(values), np.array([0])).tolist() == [statistics.fmean(values)]


def test_the_ranking_of_no_evaluation_is_empty():
    rows = leaderboard_rows([])
    assert (len(rows), list(rows), rows[:3], rows.named(), rows.ranking.counts()) == (0, [], [], [], {})
    assert difference_noise([]) is None


def test_a_row_is_one_object_for_as_long_as_somebody_holds_it():
    rows = leaderboard_rows([evaluation("ce(z)"), evaluation("ce(p)", 0, 0.5)])
    held = rows[1]
    assert rows[1] is rows[-1] is rows[:][1] is list(rows)[1] is held
    assert rows != [held]
    assert rows != "rows"
    with pytest.raises(IndexError):
        rows[2]


def test_only_rows_that_are_read_are_built(monkeypatch):
    made = []
    rows = leaderboard_rows([evaluation(f"{k}*ce(z)", 0, k / 300) for k in range(200)])
    build_row = rows._build.__globals__["build_row"]
    monkeypatch.setitem(
        rows._build.__globals__,
        "build_row",
        lambda ranking, place, group, baseline: (
            made.append(list(group.values())) or build_row(ranking, place, group, baseline)
        ),
    )
    assert [row.formula for row in rows[:2]] == ["199*ce(z)", "198*ce(z)"]
    assert [[evaluation.formula for evaluation in group] for group in made] in (
        [["199*ce(z)"], ["198*ce(z)"]],
        [["198*ce(z)"], ["199*ce(z)"]],
    )


# Damaged parts.

#: Values of the right type that a stranger may have written.
WRONG = {
    "status": st.sampled_from(["evaluated", "failed", "fine", "", None]),
    "class_weights": st.sampled_from([None, "learned", "bogus"]),
    "metric": st.sampled_from([None, "accuracy", "bogus"]),
    "fitness": st.sampled_from([None, 0.0, 1.0, 1.1, -0.1, float("nan"), float("inf")]),
    "calibration": st.sampled_from([None, 0.0, -1.0, float("inf"), float("nan")]),
    "seconds": st.sampled_from([None, -1.0, float("nan")]),
    "seed": st.sampled_from([None, 0, -1]),
    "reason": st.sampled_from([None, "", "flat"]),
    "name": st.sampled_from([None, ""]),
    "parents": st.sampled_from([None, [], ["a"]]),
    "complexity": st.sampled_from([None, 1, -1]),
    "evaluation_id": st.sampled_from([None, "1", ""]),
    "loss_id": st.sampled_from([None, "a", "", "../a", "a\x00"]),
    "formula": st.sampled_from([None, ""]),
    "steps": st.sampled_from([None, 0]),
}


@st.composite
def rows_of_strangers(draw):
    record = draw(evaluations())
    changed = draw(st.lists(st.sampled_from(sorted(WRONG)), max_size=2, unique=True))
    return dataclasses.asdict(record) | {name: draw(WRONG[name]) for name in changed}


def is_valid(row):
    try:
        Evaluation(**row)
    except (ValueError, TypeError):
        return False
    return True


@given(st.lists(st.lists(rows_of_strangers(), min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_part_is_damaged_if_and_only_if_one_of_its_records_breaks_a_rule(parts):
    with tempfile.TemporaryDirectory() as folder:
        write_records(Path(folder) / "columns.parquet", Evaluation, [evaluation()])
        schema = pa.schema([field.with_nullable(True) for field in pq.read_schema(Path(folder) / "columns.parquet")])
        for number, part in enumerate(parts):
            columns = {name: [row[name] for row in part] for name in part[0]}
            pq.write_table(pa.table(columns, schema=schema), Path(folder) / f"{number:06}.parquet")
        evaluations_read, damages = EvaluationStore(Path(folder)).read()
        expected = [number for number, part in enumerate(parts) if not all(map(is_valid, part))]
        assert [int(damage.path.stem) for damage in damages] == expected
        rest = [row for number, part in enumerate(parts) if number not in expected for row in part]
        assert len(evaluations_read) == len({row["evaluation_id"] for row in rest})


def test_parts_of_older_versions_are_read_beside_new_ones(tmp_path):
    store = EvaluationStore(tmp_path / "evaluations")
    store.append([evaluation("ce(z)", 0, 0.8)])
    older = pq.read_table(tmp_path / "evaluations" / "000001.parquet")
    older = older.drop_columns(["metric", "steps", "full_steps", "class_weights", "parents", "name"])
    pq.write_table(older, tmp_path / "evaluations" / "000001.parquet")
    store.append([evaluation("ce(p)", 0, 0.9, parents=("a",), steps=9, full_steps=9), refused("y")])
    assert [(row.formula, row.rank, row.parents, row.steps) for row in Leaderboard(tmp_path).rows] == [
        ("ce(p)", 1, ("a",), 9),
        ("ce(z)", 2, (), None),
        ("y", None, (), None),
    ]
