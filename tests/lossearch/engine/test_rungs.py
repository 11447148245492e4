"""Successive halving inside a generation: promotion, records, and equal results at a lower cost."""

import json

import pytest

from lossearch.engine.launch import SearchInterrupted, search
from lossearch.engine.score import Score, promote
from lossearch.evaluators.executors.executor import InlineExecutor
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.work import Candidate
from lossearch.results.leaderboard import Leaderboard
from lossearch.runs import session as workers
from lossearch.runs.declaration import ExecutorSettings
from lossearch.runs.experiment import EvolutionSettings
from tests.evaluators.executors.test_executor import Shuffled
from tests.long_cases import long_unless
from tests.lossearch.small import SMALL, Interrupting, records, stopped_at

RUNGS = SMALL.model_copy(update={"fidelity": TrainingSettings(steps=12, seeds=2, rungs=(2, 5))})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return search(RUNGS, run_dir=tmp_path_factory.mktemp("runs") / "run")


def steps_of(run, loss_id):
    return {
        evaluation.steps
        for evaluation in run.leaderboard.evaluations
        if evaluation.loss_id == loss_id and evaluation.seed is not None
    }


def test_survivors_have_an_evaluation_at_every_rung_and_the_others_where_they_stopped(run):
    rows = run.leaderboard.rows
    assert {row.status for row in rows if row.status in ("evaluated", "stopped")} == {"evaluated", "stopped"}
    for row in rows:
        if row.status == "evaluated":
            assert (steps_of(run, row.loss_id), row.steps) == ({2, 5, 12}, 12)
        elif row.status == "stopped":
            assert steps_of(run, row.loss_id) in ({2}, {2, 5})
            assert (row.rank, row.fitness_mean) == (None, None)
            assert row.reason.startswith(f"trained to a rung: {row.steps} of 12 steps, with a fitness of 0.")


def test_known_losses_are_always_trained_to_the_end(run):
    known = [row for row in run.leaderboard.rows if row.name is not None]
    assert {row.name for row in known} == set(RUNGS.evolution.seeds)
    assert {row.status for row in known} == {"evaluated"}


def test_survivors_have_the_fitness_that_they_have_without_rungs(run, tmp_path):
    evolution = SMALL.evolution.model_copy(update={"generations": 1})
    whole = search(SMALL.model_copy(update={"evolution": evolution}), run_dir=tmp_path / "whole")
    without_rungs = {row.loss_id: row for row in whole.leaderboard.rows}
    survivors = [row for row in run.leaderboard.rows if row.status == "evaluated" and row.generation == 0]
    assert survivors
    for row in survivors:
        assert row.fitness_mean == without_rungs[row.loss_id].fitness_mean
        assert row.calibration == without_rungs[row.loss_id].calibration


def test_the_log_counts_stopped_candidates(run):
    lines = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["event"] == "generation"][-1]
    board = [row.status for row in run.leaderboard.rows]
    assert last["stopped"] == board.count("stopped") > 0
    assert last["evaluated"] == board.count("evaluated")


@pytest.mark.parametrize("submissions", long_unless([0, 2, 3, 4, 7, 9], (2, 7)))
def test_a_resumed_search_with_rungs_equals_the_uninterrupted_one(tmp_path, monkeypatch, run, submissions):
    with stopped_at(monkeypatch, submissions, SearchInterrupted):
        search(RUNGS, run_dir=tmp_path / "run")
    search(RUNGS, run_dir=tmp_path / "run", resume=True)
    assert records(tmp_path / "run") == records(run.path)


@pytest.mark.long
@pytest.mark.xdist_group("ray")
@pytest.mark.usefixtures("shared_ray")
def test_ray_and_any_order_give_the_same_records(tmp_path, monkeypatch, run):
    search(RUNGS, run_dir=tmp_path / "ray", executor="ray")
    assert records(tmp_path / "ray") == records(run.path)
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Shuffled())
    search(RUNGS, run_dir=tmp_path / "shuffled")
    assert records(tmp_path / "shuffled") == records(run.path)


def candidate(number, complexity=3, name=None):
    return Candidate(f"id{number}", "ce(z)", complexity, 0, "point", number, name=name)


def test_at_a_rung_the_best_third_goes_on_the_simpler_of_equals_and_every_known_loss():
    fitness = [0.5, 0.9, 0.7, 0.9, 0.8, 0.6, 0.1]
    candidates = [candidate(k, complexity=9 - k, name="mse" if k == 6 else None) for k in range(7)]
    stand = {candidate: Score(value, []) for candidate, value in zip(candidates, fitness, strict=True)}
    assert [candidate.birth_number for candidate in promote(stand, 3)] == [1, 3, 4, 6]
    equal = {candidate: Score(0.5, []) for candidate in candidates[:3]}
    assert [candidate.birth_number for candidate in promote(equal, 3)] == [2]
    assert promote({}, 3) == []


@pytest.mark.parametrize("rungs", [(12,), (0, 5), (5, 5), (8, 4), (8, 9), (20,)])
def test_rungs_that_do_not_rise_are_refused(rungs):
    with pytest.raises(ValueError, match=r"rungs: expected steps that rise by at least a third"):
        TrainingSettings(steps=12, rungs=rungs)


def test_an_interrupted_first_rung_ranks_nothing(tmp_path, monkeypatch):
    settings = EvolutionSettings(population=6, generations=2, seeds=("cross_entropy", "mse"))
    experiment = RUNGS.model_copy(update={"evolution": settings})
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Interrupting(2))
    with pytest.raises(SearchInterrupted):
        search(experiment, run_dir=tmp_path / "run")
    rows = Leaderboard(tmp_path / "run").rows
    assert rows
    assert {row.rank for row in rows} == {None}
    assert {row.reason[:33] for row in rows if row.name} == {"trained to a rung: 2 of 12 steps,"}


class Slots(InlineExecutor):
    """Has two workers, and notes its cohorts."""

    slots = 2

    def __init__(self):
        super().__init__()
        self.given = []

    def submit(self, work, states=()):
        self.given.append((work.until, len(work.candidates)))
        return super().submit(work, states)


def test_every_worker_has_work_at_every_rung(tmp_path, monkeypatch):
    slots = Slots()
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: slots)
    settings = EvolutionSettings(population=24, generations=1, seeds=("cross_entropy",))
    automatic = ExecutorSettings(kind="inline")
    search(RUNGS.model_copy(update={"evolution": settings, "executor": automatic}), run_dir=tmp_path / "run")
    assert slots.given[:2] == [(2, 12), (2, 12)]
    sizes = [size for until, size in slots.given if until == 5]
    assert sizes in ([4, 4], [5, 4])  # the best third, and cross-entropy where it is not among them
    assert [until for until, _ in slots.given].count(12) == 2


def test_the_card_of_a_survivor_counts_stopped_candidates_and_compares_full_trainings(run):
    from lossearch.results.export.model_card import Evidence, model_card

    (row, *_) = [row for row in run.leaderboard.rows if row.status == "evaluated" and row.name is None]
    entry = next(entry for entry in run.leaderboard if entry.row is row)
    text = model_card(
        entry.exportable(), "x.py", "py", Evidence(row, run.leaderboard.rows, run.leaderboard.evaluations)
    )
    trained = sum(row.status in ("evaluated", "stopped", "failed") for row in run.leaderboard.rows)
    assert f"The loss was chosen from {trained} by this very score" in text
    assert "- 2 trainings in the run: none failed" in text
    assert f"Difference to cross-entropy under the same seeds: {row.difference_to_cross_entropy:+.4f}" in text
