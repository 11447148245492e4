"""The driver is killed before every permanent change, and at random moments."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lossearch.engine.launch import search
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.storage.store import EvaluationStore
from tests.long_cases import long_unless
from tests.lossearch.dying import TINY

ROOT = Path(__file__).parents[3]


def timeless(path):
    """Return the rows of a leaderboard without times, which depend on the number of stops."""
    return [replace(row, seconds=None, finished_at=None) for row in Leaderboard(path).rows]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return search(TINY, run_dir=tmp_path_factory.mktemp("runs") / "undisturbed")


def killed_and_resumed(root, mode, kind, number, least):
    """Kill runs and resume them in the end. Return their directories, at least `least`."""
    words = [sys.executable, "-m", "tests.lossearch.dying", str(root), mode, kind, str(number)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=3600, check=True)
    count, *unfinished = done.stdout.split()
    assert int(count) >= least
    assert not unfinished
    return sorted(root.iterdir())


#: Kills at every step or every 13th, or numbers of kills at random moments, each with the smallest number of runs.
KINDS = pytest.mark.parametrize(
    ("kind", "number", "least"),
    long_unless(
        [("steps", 1, 35), ("steps", 13, 3), ("random", 50, 8), ("random", 2, 1)],
        short=[("random", 2, 1)],
    ),
)


@KINDS
def test_a_killed_run_that_is_resumed_has_every_evaluation_once_and_the_same_leaderboard(
    tmp_path, undisturbed, kind, number, least
):
    expected = {evaluation.evaluation_id for evaluation in undisturbed.leaderboard.evaluations}
    for index, path in enumerate(killed_and_resumed(tmp_path, "generational", kind, number, least)):
        assert sorted(rows(path)) == sorted(expected), path.name  # none is lost or repeated
        assert timeless(path) == timeless(undisturbed.path), path.name
        if index % 10:
            shutil.rmtree(path)


@pytest.mark.long
@KINDS
def test_a_killed_and_resumed_steady_run_has_every_evaluation_once(tmp_path, kind, number, least):
    for path in killed_and_resumed(tmp_path, "steady", kind, number, least):
        ids = rows(path)
        assert len(ids) == len(set(ids)), path.name
        wanted = TINY.evolution.population * TINY.evolution.generations
        assert sum(row.status in ("evaluated", "stopped", "failed") for row in Leaderboard(path).rows) == wanted
        shutil.rmtree(path)


def rows(path):
    """Return the identities of all evaluations, with repetitions, from the files."""
    return [evaluation.evaluation_id for part in parts(path) for evaluation in part]


def parts(path):
    """Read the evaluations of each part from its file."""
    from lossearch.results.records import Evaluation
    from lossearch.results.storage.tables import read_records

    assert not EvaluationStore(path / "evaluations").read()[1]
    return [read_records(part, Evaluation) for part in sorted((path / "evaluations").glob("*.parquet"))]
