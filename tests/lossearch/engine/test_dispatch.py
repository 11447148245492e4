"""Only unfinished work is handed out again after a stop."""

import pytest

from lossearch.engine.launch import SearchInterrupted, search
from lossearch.evaluators.executors.executor import InlineExecutor
from lossearch.evaluators.work import evaluation_id
from lossearch.runs import session as workers
from tests.long_cases import long_unless
from tests.lossearch.engine.test_steady import STEADY, WITH_RUNGS
from tests.lossearch.small import SMALL, records, stopped_at

KINDS = {"generational": SMALL, "steady": STEADY, "with rungs": WITH_RUNGS}


def with_cohorts_of(size, experiment):
    executor = experiment.executor.model_copy(update={"cohort_size": size})
    return experiment.model_copy(update={"executor": executor})


class Counting(InlineExecutor):
    """Works inline, and notes which evaluations it was asked for."""

    def __init__(self):
        super().__init__()
        self.asked, self.sizes = [], []

    def submit(self, work, states=()):
        self.asked += [evaluation_id(candidate, work, seed) for candidate in work.candidates for seed in work.seeds]
        self.sizes.append(len(work.candidates))
        return super().submit(work, states)


@pytest.mark.parametrize(
    ("kind", "submissions"),
    long_unless(
        [(kind, submissions) for kind in KINDS for submissions in (3, 5, 9)],
        short=[("generational", 5), ("steady", 9)],
    ),
)
def test_known_candidates_are_not_trained_again_in_cohorts_of_another_size(tmp_path, monkeypatch, kind, submissions):
    path, experiment = tmp_path / "run", KINDS[kind]
    with stopped_at(monkeypatch, submissions, SearchInterrupted):
        search(with_cohorts_of(2, experiment), run_dir=path)
    known = {evaluation.evaluation_id for evaluation in records(path) if evaluation.seed is not None}
    counting = Counting()
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: counting)
    search(with_cohorts_of(3, experiment), run_dir=path, resume=True)
    assert known
    assert not known & set(counting.asked)
    assert len(counting.asked) == len(set(counting.asked))
    assert max(counting.sizes) <= 3


def test_births_are_requested_again_only_after_new_results(tmp_path, monkeypatch):
    from lossearch.engine.breeding import Breeding

    asked = []

    def nothing(self, wanted, *more):
        asked.append(wanted)
        return iter(())

    monkeypatch.setattr(Breeding, "candidates", nothing)
    run = search(
        STEADY.model_copy(update={"evolution": STEADY.evolution.model_copy(update={"seeds": ("mse",)})}),
        run_dir=tmp_path / "run",
    )
    assert len(asked) <= 2  # beside the baseline, and when it was trained
    assert {row.name for row in run.leaderboard.rows} == {"cross_entropy"}
