"""Timing: the sums of a run's workers."""

import time

from lossearch.evaluators.work import Spent
from lossearch.runs.timing import Workforce


def test_workers_are_summed_up_by_name_and_are_idle_for_the_rest(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    force = Workforce()
    force.add([Spent("a:1", 10, {"compiling": 1.0, "training": 3.0}), Spent("b:2", 4, {"training": 2.0})])
    now[0] = 126.0
    force.add([Spent("a:1", 20, {"training": 6.0})])
    summary = force.summary()
    assert summary["a:1"] == {
        "trainings": 30,
        "per_minute": 60.0,  # in 30 s, since the beginning of the first piece of work
        "seconds": {"compiling": 1.0, "training": 9.0, "idle": 20.0},
    }
    assert summary["b:2"]["trainings"] == 4
    assert summary["b:2"]["seconds"]["idle"] == 26.0  # present and waiting


def test_a_lost_worker_is_not_idle_until_it_returns(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    force = Workforce()
    force.mark_gone("unheard of")
    force.add([Spent("a:1", 1, {"training": 5.0})])
    now[0] = 110.0
    force.mark_gone("a:1")
    now[0] = 200.0
    assert force.summary()["a:1"]["seconds"]["idle"] == 10.0
    force.add([Spent("a:1", 1, {"training": 5.0})])  # on its way when it was lost
    assert force.summary()["a:1"]["seconds"]["idle"] == 95.0


def test_only_the_most_recently_active_of_many_workers_are_listed(monkeypatch):
    from lossearch.runs import timing

    monkeypatch.setattr(timing, "MAX_LISTED", 2)
    force = Workforce()
    for number in range(5):
        force.add([Spent(f"w{number}", 1, {"training": 1.0})])
    assert force.summary().keys() == {"w3", "w4"}
