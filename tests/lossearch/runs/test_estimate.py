"""The time of trainings after a search, from the seconds that the search recorded."""

import re
from dataclasses import replace

from lossearch.runs.estimate import Trainings, later_time, seconds_of_step
from lossearch.studies.tune import estimate_tuning
from tests.lossearch.small import SMALL, finished_run
from tests.results.helpers import evaluation

RECORDS = [
    evaluation(seed=seed, task="digits", seconds=seconds, steps=10) for seed, seconds in enumerate((1.0, 2.0, 30.0))
]


def test_a_step_takes_the_median_of_the_recorded_ones():
    assert seconds_of_step(RECORDS, "digits") == 0.2
    assert seconds_of_step(RECORDS, "shapes") is None
    assert seconds_of_step([replace(RECORDS[0], steps=None)], "digits") is None


def test_the_time_is_trainings_times_steps_times_seconds():
    fidelity = SMALL.training_on("digits").model_copy(update={"steps": 100})
    planned = [Trainings("digits", fidelity, 30)]
    assert later_time(SMALL, RECORDS, planned).startswith(
        "time: about 10 min of training with 1 worker, "
    )  # 30 * 100 * 0.2 s
    assert later_time(SMALL, RECORDS, [], searches=1).startswith("time: about 33 s of training with 1 worker, ")
    other = fidelity.model_copy(update={"network": "cnn", "steps": 1})
    assert re.match(
        r"time: about 1 s of training with", later_time(SMALL, RECORDS, [Trainings("digits", other, 1)])
    )  # measured


def test_tuning_names_its_time_before_it_starts(tmp_path):
    run = finished_run(tmp_path / "run")
    assert estimate_tuning(run.path, trials=2, executor="inline").startswith("time: about ")
