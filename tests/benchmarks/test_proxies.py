"""Searches train by the proxies that were measured as the cheapest good ones."""

import pytest

from benchmarks.fidelity import KEPT
from lossearch.evaluators.tasks import TASKS
from lossearch.results.findings.proxies import FULL, GOOD_ENOUGH, find_cheapest, proxy_lines, read_lines, read_values
from lossearch.runs.experiment import Experiment
from lossearch.studies.fidelity import proxy_of

LINES, VALUES = read_lines(KEPT), read_values(KEPT)
MEASURED = list(dict.fromkeys(line.task for line in LINES))


def test_the_table_follows_from_the_values():
    assert proxy_lines(VALUES) == LINES


@pytest.mark.parametrize("task", MEASURED)
def test_the_proxy_of_a_task_is_the_cheapest_with_a_tau_of_six_tenths(task):
    lines = [line for line in LINES if line.task == task and not line.ceiling]
    good = [line for line in lines if line.tau is not None and line.tau >= GOOD_ENOUGH == 0.6]
    assert lines[0].full_steps == TASKS[task].fidelity.steps
    if not good:
        assert TASKS[task].proxy is None
        return
    best = min(good, key=lambda line: (line.cost, -line.tau))
    assert find_cheapest(LINES, task) == best
    assert TASKS[task].proxy == proxy_of(TASKS[task].fidelity, best.proxy, best.seeds)
    assert Experiment(name="a", task=task).fidelity == TASKS[task].proxy


def test_a_task_that_was_not_measured_has_no_proxy():
    assert [name for name, task in TASKS.items() if task.proxy is not None and name not in MEASURED] == []


def test_no_seed_of_a_proxy_is_one_of_the_full_training():
    full = {(value.task, value.seed) for value in VALUES if value.proxy == FULL}
    assert not full & {(value.task, value.seed) for value in VALUES if value.proxy != FULL}


@pytest.mark.parametrize("task", MEASURED)
def test_every_candidate_has_a_value_or_a_reason_under_every_seed(task):
    values = [value for value in VALUES if value.task == task]
    losses = {value.loss_id for value in values}
    for proxy in {value.proxy for value in values}:
        trainings = [(value.loss_id, value.seed) for value in values if value.proxy == proxy]
        seeds = {seed for _, seed in trainings}
        assert sorted(trainings) == sorted((loss, seed) for loss in losses for seed in seeds)
    assert all((value.fitness is None) != (value.reason is None) for value in values)
