"""Trainings report their steps while they train: together, one at a time, and to nobody."""

import pytest

from lossearch.evaluators.executors.executor import InlineExecutor
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.training.steps import report_steps
from lossearch.evaluators.work import Work
from lossearch.runs.named_loss import candidate_of
from lossearch.runs.progress import Progress


@pytest.mark.parametrize("settings", [{}, {"amp": True}])  # amp has no batched form
def test_every_step_of_every_training_is_reported_while_it_trains(settings):
    reported = []
    executor = InlineExecutor("cpu")
    executor.on_steps = reported.append
    candidates = tuple(map(candidate_of, ("cross_entropy", "mse", "focal")))
    executor.submit(Work(candidates, "digits", TrainingSettings(steps=16, seeds=2, **settings), 0))
    assert reported == sorted(reported)
    assert reported[-1] == 3 * 2 * 16
    assert len(reported) >= 8
    report_steps(5)  # nobody listens
    assert reported[-1] == 3 * 2 * 16


def test_progress_counts_the_shares_of_trainings_in_flight():
    progress = Progress(generations=1)
    assert (progress.done, progress.seconds_left(10)) == (0.0, None)
    progress.trained = 2.5
    assert progress.done == 2.5
    assert progress.seconds_left(10) > 0.0
    progress.evaluated = 4  # some stopped early
    assert progress.done == 4
