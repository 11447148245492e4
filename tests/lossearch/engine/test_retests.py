"""Leading losses are trained under more seeds, and their fitness is the mean over all seeds."""

from dataclasses import asdict, replace

import pytest

from lossearch.engine.launch import SearchInterrupted, search
from lossearch.engine.retests import Retests
from lossearch.engine.score import Score
from lossearch.evaluators.executors.executor import InlineExecutor
from lossearch.evaluators.work import Candidate
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.statistics.intervals import mean
from lossearch.results.storage.run_files import logged_events
from lossearch.runs import session
from lossearch.runs.declaration import ExperimentError
from lossearch.runs.experiment import validated
from tests.long_cases import long_unless
from tests.lossearch.small import SMALL, records, stopped_at

RETESTED = SMALL.model_copy(update={"evolution": SMALL.evolution.model_copy(update={"retests": 2})})


def candidate(name, number, complexity=3):
    return Candidate(name, f"{number}*ce(z)", complexity, 0, "random", number, name=name)


CROSS_ENTROPY = candidate("cross_entropy", 1)
A, B, C = (candidate(name, number) for number, name in enumerate("abc", 2))


def told(retests, **fitness):
    everyone = {candidate.name: candidate for candidate in (CROSS_ENTROPY, A, B, C)}
    retests.add({everyone[name]: Score(value, {}) for name, value in fitness.items()})
    return retests


def test_the_leaders_and_cross_entropy_get_the_next_seed():
    retests = told(Retests(2, seeds=3), cross_entropy=0.5, a=0.9, b=0.8, c=0.7)
    assert retests.due() == {3: [A, B, CROSS_ENTROPY]}


def test_a_lucky_loss_falls_back_and_the_next_loss_is_retested():
    retests = told(Retests(1, seeds=2), cross_entropy=0.5, a=0.9, b=0.8)
    assert retests.due() == {2: [A, CROSS_ENTROPY]}
    assert retests.record({A: 0.3, CROSS_ENTROPY: 0.6}) == {
        "a": pytest.approx((0.9 + 0.9 + 0.3) / 3),
        "cross_entropy": 0.5 + 0.1 / 3,
    }
    assert retests.due() == {2: [B]}  # .8 is ahead of .7 now; cross-entropy has that seed
    retests.record({B: 0.8})
    assert retests.due() == {3: [B, CROSS_ENTROPY]}
    assert retests.due(untested=True) == {}
    assert retests.best() == (B.formula, pytest.approx(0.8))


def test_cross_entropy_has_every_seed_of_any_loss():
    retests = told(Retests(1, seeds=1), cross_entropy=0.1, a=0.9)
    retests.record({A: 0.9})  # as if cross-entropy had been left out
    retests.record({A: 0.9})
    assert retests.due() == {1: [CROSS_ENTROPY], 2: [CROSS_ENTROPY], 3: [A, CROSS_ENTROPY]}


def test_a_loss_that_fails_under_a_further_seed_is_out():
    retests = told(Retests(1, seeds=2), cross_entropy=0.5, a=0.9, b=0.8)
    assert retests.record({A: None}) == {"a": None}
    assert retests.due()[2][0] == B


def test_saved_retests_are_restored():
    retests = told(Retests(2, seeds=2), cross_entropy=0.85, a=0.9, b=0.8)
    retests.record({A: 0.7, CROSS_ENTROPY: 0.8})
    again = Retests(2, seeds=2)
    again.restore(retests.state())
    assert again.due() == retests.due()
    assert again.record({CROSS_ENTROPY: 0.9}) == retests.record({CROSS_ENTROPY: 0.9})
    assert again.state() == retests.state()


class FailingRetests(InlineExecutor):
    """An executor under which every retest of one loss fails: of the first that is retested."""

    loss = None

    def submit(self, work, states=()):
        done = super().submit(work, states)
        if work.first_seed:
            self.loss = self.loss or work.candidates[0].loss_id
            failed = {"status": "failed", "fitness": None, "reason": "diverged"}
            evaluations = done.result()
            evaluations[:] = [
                replace(evaluation, **failed) if evaluation.loss_id == self.loss else evaluation
                for evaluation in evaluations
            ]
        return done


def test_a_loss_that_failed_in_a_retest_counts_as_failed_everywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "InlineExecutor", lambda device: FailingRetests())
    run = search(RETESTED, run_dir=tmp_path / "run")
    counts = run.leaderboard.candidate_counts()
    assert any(evaluation.status == "failed" and evaluation.seed >= 2 for evaluation in run.leaderboard.evaluations)
    last = [event for event in logged_events(run.path / "log.jsonl") if event["event"] == "generation"][-1]
    assert {name: last[name] for name in asdict(counts)} == asdict(counts)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return search(RETESTED, run_dir=tmp_path_factory.mktemp("retested") / "run")


def test_the_leaders_have_more_seeds_and_rank_by_all_of_them(whole):
    rows = [row for row in whole.leaderboard.rows if row.rank is not None]
    assert rows[0].seeds > SMALL.fidelity.seeds
    by_loss = {}
    for evaluation in whole.leaderboard.evaluations:
        if evaluation.fitness is not None:
            by_loss.setdefault(evaluation.loss_id, {})[evaluation.seed] = evaluation.fitness
    for row in rows:
        assert row.seeds == len(by_loss[row.loss_id])
        assert sorted(by_loss[row.loss_id]) == list(range(row.seeds))
        assert row.fitness_mean == pytest.approx(mean(by_loss[row.loss_id].values()))
    theirs = next(by_loss[row.loss_id] for row in rows if row.name == "cross_entropy")
    by_seed = by_loss[rows[0].loss_id]
    expected = mean(value - theirs[seed] for seed, value in by_seed.items())
    assert rows[0].difference_to_cross_entropy == pytest.approx(expected)
    assert len(theirs) >= rows[0].seeds


def test_the_best_two_were_retested_in_the_end(whole):
    assert all(row.seeds > SMALL.fidelity.seeds for row in whole.leaderboard.rows[:2])


@pytest.mark.parametrize("submission", long_unless([3, 7, 9, 14, 20], (14,)))
def test_a_search_with_retests_that_was_stopped_equals_one_that_was_not(submission, whole, tmp_path, monkeypatch):
    with stopped_at(monkeypatch, submission, SearchInterrupted):
        search(RETESTED, run_dir=tmp_path / "run")
    search(RETESTED, run_dir=tmp_path / "run", resume=True)
    assert sorted(records(tmp_path / "run"), key=str) == sorted(records(whole.path), key=str)
    ids = [evaluation.evaluation_id for evaluation in Leaderboard(tmp_path / "run").evaluations]
    assert len(ids) == len(set(ids))


def test_without_retests_nothing_is_trained_twice(monkeypatch, tmp_path):
    seeds = []
    submit = InlineExecutor.submit

    def watched(self, work, states=()):
        seeds.append(work.first_seed)
        return submit(self, work, states)

    monkeypatch.setattr(InlineExecutor, "submit", watched)
    search(SMALL, run_dir=tmp_path / "run")
    assert set(seeds) == {0}


def test_a_steady_search_has_no_retests():
    declared = RETESTED.model_dump()
    declared["evolution"]["mode"] = "steady"
    with pytest.raises(ExperimentError, match="retests: expected 0"):
        validated(declared, "mine.toml")
