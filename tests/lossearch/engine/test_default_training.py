"""Default training of a search whose file sets none or little of it."""

from dataclasses import replace

import pytest

from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import TASKS
from lossearch.primitives.errors import UserError
from lossearch.runs.experiment import validated
from lossearch.studies.comparison import validated_comparison

FULL, PROXY, ONCE = TrainingSettings(steps=40), TrainingSettings(steps=10, seeds=2), TrainingSettings(steps=5, seeds=1)


@pytest.fixture(autouse=True)
def _tasks(monkeypatch):
    for name, proxy in (("digits", PROXY), ("digits_noisy", ONCE), ("digits_long_tail", None)):
        monkeypatch.setitem(TASKS, name, replace(TASKS[name], fidelity=FULL, proxy=proxy))


def search_on(*tasks, **keys):
    declared = {"name": "a", "task": list(tasks) if len(tasks) > 1 else tasks[0], **keys}
    return validated(declared, "test")


def test_a_search_trains_by_the_proxy_and_a_comparison_fully():
    assert search_on("digits").fidelity == PROXY
    assert search_on("digits_noisy").fidelity == ONCE
    compared = validated_comparison({"name": "a", "tasks": ["digits"], "losses": ["mse"], "seeds": 2}, "test")
    assert compared.fidelity_of["digits"] == FULL


def test_a_search_on_a_task_without_a_proxy_trains_fully():
    assert search_on("digits_long_tail").fidelity == FULL


def test_a_proxy_replaces_only_the_tasks_own_training():
    assert search_on("digits", fidelity={"network": "cnn"}).fidelity == FULL.model_copy(update={"network": "cnn"})
    assert search_on("digits", fidelity={"steps": 7}).fidelity == FULL.model_copy(update={"steps": 7})


def test_an_empty_table_changes_nothing():
    assert search_on("digits", fidelity={}).fidelity == PROXY


def test_several_tasks_use_their_proxies_with_the_largest_number_of_seeds():
    experiment = search_on("digits_noisy", "digits")
    assert experiment.training_on("digits") == PROXY
    assert experiment.training_on("digits_noisy") == ONCE.model_copy(update={"seeds": 2})


def test_settings_declared_for_one_task_leave_the_proxy_of_another():
    experiment = search_on("digits", "digits_noisy", fidelity_of={"digits": {"steps": 30, "seeds": 3}})
    assert experiment.training_on("digits") == FULL.model_copy(update={"steps": 30, "seeds": 3})
    assert experiment.training_on("digits_noisy") == ONCE.model_copy(update={"seeds": 3})


def test_declared_seeds_are_not_changed_where_they_differ():
    with pytest.raises(UserError, match=r"expected the same number of seeds on every task, got \[1, 2\]"):
        search_on("digits", "digits_noisy", fidelity_of={"digits": {"steps": 30, "seeds": 1}, "digits_noisy": PROXY})


def test_a_resolved_experiment_stays_as_it_is():
    for tasks in (("digits",), ("digits", "digits_noisy")):
        experiment = search_on(*tasks)
        assert validated(experiment.model_dump(), "again") == experiment
