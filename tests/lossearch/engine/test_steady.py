import json

import pytest

from lossearch.engine.launch import SearchInterrupted, search
from lossearch.evaluators.settings import TrainingSettings
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import Evaluation
from lossearch.results.storage.tables import read_records
from lossearch.runs import session as workers
from tests.evaluators.executors.test_executor import Shuffled
from tests.long_cases import long_unless
from tests.lossearch.small import SMALL, Interrupting, stopped_at

STEADY = SMALL.model_copy(update={"evolution": SMALL.evolution.model_copy(update={"mode": "steady"})})
WITH_RUNGS = STEADY.model_copy(
    update={"fidelity": TrainingSettings(steps=12, seeds=1, rungs=(3, 6), reduction_factor=2)}
)
WANTED = STEADY.evolution.population * STEADY.evolution.generations


def trained(path):
    """Return the ids of the losses that were trained."""
    return {evaluation.loss_id for evaluation in Leaderboard(path).evaluations if evaluation.seed is not None}


def require_each_once(path):
    """Require every evaluation exactly once, in one part."""
    parts = [read_records(part, Evaluation) for part in sorted((path / "evaluations").glob("*.parquet"))]
    rows = [evaluation.evaluation_id for part in parts for evaluation in part]
    assert len(rows) == len(set(rows))
    return rows


@pytest.mark.parametrize("experiment", [STEADY, WITH_RUNGS], ids=["without rungs", "with rungs"])
def test_a_steady_search_trains_the_requested_number_of_distinct_losses(tmp_path, experiment):
    run = search(experiment, run_dir=tmp_path / "run")
    assert len(trained(run.path)) == WANTED
    require_each_once(run.path)
    born = {evaluation.birth for evaluation in run.leaderboard.evaluations if evaluation.seed is not None}
    assert born > {"known", "random"}  # and children
    assert run.exported is not None
    events = [json.loads(line)["event"] for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert events.count("generation") == STEADY.evolution.generations


def test_children_are_born_before_a_generation_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Shuffled())
    run = search(STEADY, run_dir=tmp_path / "run")
    evaluations = [evaluation for evaluation in run.leaderboard.evaluations if evaluation.seed == 0]
    finished = sorted(evaluations, key=lambda evaluation: evaluation.finished_at)
    children = [evaluation for evaluation in finished if evaluation.parents]
    assert children
    assert len(finished) == WANTED
    first = children[0]
    earlier = {evaluation.loss_id for evaluation in finished[: finished.index(first)]}
    assert set(first.parents) <= earlier


def test_at_a_rung_the_best_go_on_and_every_known_loss_does(tmp_path):
    run = search(WITH_RUNGS, run_dir=tmp_path / "run")
    rows = run.leaderboard.rows
    assert {row.status for row in rows if row.name is not None} == {"evaluated"}
    stopped = [row for row in rows if row.status == "stopped"]
    assert stopped
    assert all(row.reason.startswith("trained to a rung") for row in stopped)


@pytest.mark.parametrize(
    ("experiment", "submissions"),
    long_unless(
        [*((STEADY, count) for count in (0, 1, 4, 7, 11)), *((WITH_RUNGS, count) for count in (1, 6, 12, 18))],
        short=[(STEADY, 0), (STEADY, 7), (WITH_RUNGS, 12)],
    ),
)
def test_a_stopped_steady_search_continues_and_records_everything_once(tmp_path, monkeypatch, experiment, submissions):
    path = tmp_path / "run"
    with stopped_at(monkeypatch, submissions, SearchInterrupted):
        search(experiment, run_dir=path)
    kept = require_each_once(path)
    search(experiment, run_dir=path, resume=True)
    assert require_each_once(path)[: len(kept)] == kept
    assert len(trained(path)) == WANTED
    numbers = {evaluation.birth_number: evaluation.loss_id for evaluation in Leaderboard(path).evaluations}
    assert all(numbers[evaluation.birth_number] == evaluation.loss_id for evaluation in Leaderboard(path).evaluations)


def test_evaluations_since_the_checkpoint_reach_evolution(tmp_path, monkeypatch):
    from lossearch.evolution.islands import Islands

    tell, reported, recorded = Islands.tell, [], set()
    for submissions in range(5, 12, 3):
        path = tmp_path / str(submissions)
        with stopped_at(monkeypatch, submissions, SearchInterrupted):
            search(STEADY, run_dir=path)
        state = path / "checkpoint" / "state.json"
        counted = json.loads(state.read_text())["evaluations"] if state.exists() else 0
        since = {
            evaluation.loss_id
            for evaluation in Leaderboard(path).evaluations[counted:]
            if evaluation.fitness is not None
        }
        reported.clear()
        with monkeypatch.context() as patched:
            patched.setattr(Islands, "tell", lambda self, members: (reported.extend(members), tell(self, members))[1])
            search(STEADY, run_dir=path, resume=True)
        assert since <= {member.loss_id for member in reported}
        recorded |= since
    assert recorded


def test_resuming_a_finished_steady_search_trains_nothing(tmp_path, monkeypatch):
    search(STEADY, run_dir=tmp_path / "run")
    before = require_each_once(tmp_path / "run")
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Interrupting(0))
    search(STEADY, run_dir=tmp_path / "run", resume=True)
    assert require_each_once(tmp_path / "run") == before


def test_a_steady_search_without_its_checkpoint_continues_from_its_records(tmp_path, monkeypatch):
    path = tmp_path / "run"
    with stopped_at(monkeypatch, 12, SearchInterrupted):
        search(STEADY, run_dir=path)
    (path / "checkpoint" / "state.json").unlink()
    kept = require_each_once(path)
    search(STEADY, run_dir=path, resume=True)
    assert require_each_once(path)[: len(kept)] == kept
    assert len(trained(path)) == WANTED
