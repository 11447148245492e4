"""Callbacks get every event once, and a failing one stops nothing."""

import pytest

import lossearch
from lossearch.engine.launch import SearchInterrupted, search
from lossearch.results.leaderboard import Leaderboard
from tests.lossearch.small import SMALL, Warned, stopped_at


class Listener(lossearch.Callback):
    def __init__(self):
        self.evaluations, self.generations, self.ends = [], [], []

    def on_evaluation(self, evaluation):
        self.evaluations.append(evaluation)

    def on_generation(self, generation):
        self.generations.append(generation)

    def on_end(self, run):
        self.ends.append(run)


class Failing(Listener):
    def on_evaluation(self, evaluation):
        super().on_evaluation(evaluation)
        raise RuntimeError("no tracker")


@pytest.mark.parametrize("mode", ["generational", "steady"])
def test_every_event_is_reported_once(tmp_path, mode):
    declared = SMALL.model_copy(update={"evolution": SMALL.evolution.model_copy(update={"mode": mode})})
    listener = Listener()
    run = search(declared, run_dir=tmp_path / "run", callbacks=[listener])
    recorded = Leaderboard(run.path).evaluations
    assert sorted(evaluation.evaluation_id for evaluation in listener.evaluations) == sorted(
        evaluation.evaluation_id for evaluation in recorded
    )
    assert [generation.number for generation in listener.generations] == [1, 2, 3, 4]
    last = listener.generations[-1]
    counts = run.leaderboard.counts()
    assert (last.evaluated, last.failed) == (counts["evaluated"], counts.get("failed", 0))
    assert last.best_fitness == pytest.approx(run.leaderboard[0].fitness_mean)
    assert [end.path for end in listener.ends] == [run.path]


def test_events_before_an_interruption_are_not_reported_again(tmp_path, monkeypatch):
    before, after = Listener(), Listener()
    with stopped_at(monkeypatch, 5, SearchInterrupted):
        search(SMALL, run_dir=tmp_path / "run", callbacks=[before])
    assert before.evaluations
    assert before.ends == []
    run = search(SMALL, run_dir=tmp_path / "run", resume=True, callbacks=[after])
    reported = [evaluation.evaluation_id for evaluation in (*before.evaluations, *after.evaluations)]
    assert sorted(reported) == sorted(evaluation.evaluation_id for evaluation in Leaderboard(run.path).evaluations)
    assert len(after.ends) == 1


def test_a_callback_that_fails_is_left_out_with_a_warning(tmp_path):
    view, failing, listener = Warned(), Failing(), Listener()
    run = search(SMALL, run_dir=tmp_path / "run", callbacks=[failing, listener], view=view)
    assert len(failing.evaluations) == 1
    assert failing.generations == failing.ends == []
    assert [
        warning for warning in view.warnings if "Failing failed in on_evaluation" in warning and "no tracker" in warning
    ]
    assert len(listener.evaluations) == len(Leaderboard(run.path).evaluations)
    assert len(listener.ends) == 1
