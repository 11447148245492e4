"""One contract for every executor."""

import os
import random
import time
from dataclasses import replace

import pytest

from evaluators import ray_executor
from evaluators.evaluation import Candidate, Work, evaluate
from evaluators.executors import FinishedWork, InlineExecutor
from evaluators.fidelity import Fidelity
from evaluators.ray_executor import ClusterUnreachable, RayExecutor, require_answer

FIDELITY = Fidelity(steps=15, seeds=2)


def work(text="ce(z)", number=1):
    return Work((Candidate(f"id{number}", text, 2, 0, "known", number),), "digits", FIDELITY, 0)


class Shuffled:
    """Evaluates here, and lets work be done in an order of its own."""

    slots = 3

    def __init__(self):
        self._random = random.Random(0)
        self._open = []

    def submit(self, work):
        pending = ShuffledWork(work)
        self._open.append(pending)
        return pending

    def wait(self, pending, timeout):
        chosen = self._random.choice([each for each in pending if not each.done()] or [None])
        if chosen:
            chosen.finish()

    def close(self):
        self._open.clear()


class ShuffledWork:
    def __init__(self, work):
        self.work = work
        self._result = None

    def done(self):
        return self._result is not None

    def finish(self):
        self._result = evaluate(self.work)

    def result(self):
        if self._result is None:
            self.finish()
        return self._result


@pytest.fixture(scope="module")
def ray_pool():
    pool = RayExecutor(workers=1)  # leaves a core for the pool of another test
    yield pool
    pool.close()


@pytest.fixture(params=["inline", "shuffled", "ray"])
def executor(request):
    if request.param == "ray":
        yield request.getfixturevalue("ray_pool")
        return
    made = {"inline": InlineExecutor, "shuffled": Shuffled}[request.param]()
    yield made
    made.close()


def without_times(evaluations):
    return [(e.evaluation_id, e.loss_id, e.seed, e.status, e.fitness, e.calibration, e.reason) for e in evaluations]


def test_results_are_those_of_the_work_whatever_the_order(executor):
    works = [work("ce(z)", 1), work("abs(p - y)", 2), work("ce(30*(cosine - 0.35*y))", 3)]
    pending = [executor.submit(each) for each in works]
    deadline = time.monotonic() + 120
    while not all(each.done() for each in pending) and time.monotonic() < deadline:
        executor.wait([each for each in pending if not each.done()], timeout=1.0)
    for each, expected in zip(pending, works, strict=True):
        assert each.work == expected
        assert without_times(each.result()) == without_times(evaluate(expected))


def test_result_waits_for_the_work(executor):
    assert [each.status for each in executor.submit(work()).result()] == ["evaluated", "evaluated"]


def test_a_failed_training_is_a_record(executor):
    (failed,) = executor.submit(work("sum_c(y)")).result()
    assert failed.status == "failed"
    assert "gradient" in failed.reason


def test_waiting_for_nothing_returns(executor):
    executor.wait([], timeout=0.1)
    finished = FinishedWork(work(), [])
    started = time.monotonic()
    executor.wait([finished], timeout=60.0)
    assert time.monotonic() - started < 60.0  # at once, and not after the timeout
    assert (finished.done(), finished.result()) == (True, [])


class DeadlyWorker(ray_executor._Worker):
    """Dies, or sleeps for ever, where a formula says so."""

    def evaluate(self, work):
        formulas = {candidate.formula for candidate in work.candidates}
        if "p" in formulas:
            os._exit(1)
        if "y" in formulas:
            time.sleep(1_000)
        return evaluate(work)


@pytest.mark.usefixtures("ray_pool")  # shares its cluster
def test_a_candidate_that_kills_or_blocks_its_worker_fails_and_the_others_do_not(monkeypatch):
    monkeypatch.setattr(ray_executor, "_Worker", DeadlyWorker)
    pool = RayExecutor(workers=1, deadline=5.0)
    try:
        pending = [pool.submit(work(text, number)) for number, text in enumerate(["p", "y", "ce(z)"])]
        killed, blocked, fine = [each.result() for each in pending]
    finally:
        pool.close()
    assert {each.status for each in killed + blocked} == {"failed"}
    assert [each.seed for each in killed] == [0, 1]
    assert killed[0].reason.startswith("killed its worker twice")
    assert blocked[0].reason == "stopped: not done within 5 s"
    assert {each.status for each in fine} == {"evaluated"}


@pytest.mark.usefixtures("ray_pool")  # shares its cluster
def test_a_cohort_that_dies_is_split_until_the_culprit_is_alone(monkeypatch):
    monkeypatch.setattr(ray_executor, "_Worker", DeadlyWorker)
    texts = ["ce(z)", "p", "square(p - y)", "y", "ce(z) + mean_c(p)"]
    cohort = replace(work(), candidates=tuple(work(text, number).candidates[0] for number, text in enumerate(texts)))
    pool = RayExecutor(workers=1, deadline=5.0)
    try:
        evaluations = pool.submit(cohort).result()
    finally:
        pool.close()
    assert [each.formula for each in evaluations] == [text for text in texts for _ in range(FIDELITY.seeds)]
    by_formula = {each.formula: each for each in evaluations}
    assert by_formula["p"].reason.startswith("killed its worker twice")
    assert by_formula["y"].reason == "stopped: not done within 5 s"
    others = [each for each in evaluations if each.formula not in ("p", "y")]
    alone = [each for text in texts if text not in ("p", "y") for each in evaluate(work(text, texts.index(text)))]
    assert without_times(others) == without_times(alone)


def test_an_address_that_does_not_answer_is_named():
    started = time.monotonic()
    with pytest.raises(ClusterUnreachable, match=r"No Ray cluster answered at '127\.0\.0\.1:1'"):
        require_answer("127.0.0.1:1")
    assert time.monotonic() - started < 30
    require_answer("auto")


@pytest.mark.parametrize("address", ["nowhere", "host:port", "host:99999", ":6379", ""])
def test_an_address_that_is_none_is_the_users_mistake(address):
    with pytest.raises(ValueError, match="Expected a Ray address like"):
        require_answer(address)
