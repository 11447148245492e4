"""One contract for every executor."""

import os
import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.executors import ray_cluster
from lossearch.evaluators.executors import ray_pool as actors
from lossearch.evaluators.executors.cluster_address import ClusterUnreachable, require_answer
from lossearch.evaluators.executors.executor import FinishedWork, InlineExecutor, merge_states
from lossearch.evaluators.executors.ray_executor import RayExecutor
from lossearch.evaluators.executors.ray_worker import Worker
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.work import Candidate, Result, Work, spent_on
from lossearch.primitives.errors import UserError
from tests.clusters import hurry_only, start_patiently, wait_until
from tests.evaluators.loss_ids import loss_id

pytestmark = pytest.mark.xdist_group("ray")

FIDELITY = TrainingSettings(steps=15, seeds=2)


def work(text="ce(z)", number=1):
    return Work((Candidate(f"id{number}", text, 2, 0, "known", number),), "digits", FIDELITY, 0)


class Shuffled:
    """Evaluates in this process, in a random order."""

    slots, largest_cohort = 3, 64

    def __init__(self):
        self._random = random.Random(0)
        self._open = []

    def submit(self, work, states=()):
        pending = ShuffledWork(work, merge_states(states))
        self._open.append(pending)
        return pending

    def wait(self, pending, timeout):
        chosen = self._random.choice([job for job in pending if not job.done()] or [None])
        if chosen:
            chosen.finish()

    def news(self):
        return []

    def close(self):
        self._open.clear()


class ShuffledWork:
    def __init__(self, work, states):
        self.work = work
        self._before = states
        self._result = None

    def done(self):
        return self._result is not None

    def finish(self):
        self._result = evaluate(self.work, self._before)

    def result(self):
        if self._result is None:
            self.finish()
        return self._result.evaluations

    def notes(self):
        return self._result.notes

    def spent(self):
        return spent_on(self._result)

    def measurements(self):
        return self._result.measurements

    def states(self):
        return [self._result.states]

    def fetched(self):
        return self._result.states


@pytest.fixture(scope="module")
def ray_pool():
    actors.ray.shutdown()  # the Ray that tests of other files share: this one is started by the executor
    pool = start_patiently(lambda: RayExecutor(workers=1))  # leaves a core for the pool of another test
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


def test_results_belong_to_their_work_in_any_order(executor):
    works = [work("ce(z)", 1), work("abs(p - y)", 2), work("ce(30*(cosine - 0.35*y))", 3)]
    pending = [executor.submit(work) for work in works]
    deadline = time.monotonic() + 600
    while not all(job.done() for job in pending) and time.monotonic() < deadline:
        executor.wait([job for job in pending if not job.done()], timeout=1.0)
    for job, expected in zip(pending, works, strict=True):
        assert job.work == expected
        assert without_times(job.result()) == without_times(evaluate(expected).evaluations)


def test_result_waits_for_the_work(executor):
    assert [evaluation.status for evaluation in executor.submit(work()).result()] == ["evaluated", "evaluated"]


def test_a_failed_training_is_a_record(executor):
    (failed,) = executor.submit(work("sum_c(y)")).result()
    assert failed.status == "failed"
    assert "gradient" in failed.reason


def to_a_rung(texts, stage=None):
    fidelity = FIDELITY.model_copy(update={"rungs": (6,)})
    candidates = tuple(Candidate(loss_id(text), text, 2, 0, "known", 1) for text in texts)
    return replace(work(), candidates=candidates, fidelity=fidelity, stage=stage)


def test_work_continues_from_the_states_of_earlier_work(executor):
    pending = [executor.submit(to_a_rung(texts, 6)) for texts in (["ce(z)", "abs(p - y)"], ["square(p - y)"])]
    assert {evaluation.steps for job in pending for evaluation in job.result()} == {6}
    states = [handle for job in pending for handle in job.states()]
    whole = to_a_rung(["ce(z)", "square(p - y)"])
    went_on = executor.submit(whole, states).result()
    assert without_times(went_on) == without_times(evaluate(whole).evaluations)
    assert {evaluation.steps for evaluation in went_on} == {15}


def test_states_can_be_fetched_and_measurements_come_with_the_work(executor):
    done = executor.submit(to_a_rung(["ce(z)", "abs(p - y)"], 6))
    done.result()
    fetched, expected = done.fetched(), evaluate(to_a_rung(["ce(z)", "abs(p - y)"], 6)).states
    assert fetched.keys() == expected.keys()
    assert all((fetched[key].weights[0] == expected[key].weights[0]).all() for key in expected)
    measured = executor.submit(replace(work(), measured="test"))
    measured.result()
    ours, theirs = (
        sorted((measurement.measurement_id, measurement.value) for measurement in measurements)
        for measurements in (measured.measurements(), evaluate(replace(work(), measured="test")).measurements)
    )
    assert ours == theirs
    assert ours


def test_waiting_for_nothing_returns(executor):
    executor.wait([], timeout=0.1)
    finished = FinishedWork(work(), Result([]))
    started = time.monotonic()
    executor.wait([finished], timeout=60.0)
    assert time.monotonic() - started < 60.0  # at once, and not after the timeout
    assert (finished.done(), finished.result()) == (True, [])


class DeadlyWorker(Worker):
    """Dies or sleeps for ever at certain formulas."""

    def evaluate(self, work, *more):
        formulas = {candidate.formula for candidate in work.candidates}
        if "p" in formulas:
            os._exit(1)
        if "y" in formulas:
            time.sleep(1_000)
        return super().evaluate(work, *more)


@pytest.mark.usefixtures("ray_pool")  # shares its cluster
def test_only_the_candidate_that_kills_or_blocks_its_worker_fails(monkeypatch):
    monkeypatch.setattr(actors, "Worker", DeadlyWorker)
    hurry_only(monkeypatch, lambda formula: formula == "y")
    pool = RayExecutor(workers=1, deadline=5.0)
    try:
        pending = [pool.submit(work(text, number)) for number, text in enumerate(["p", "y", "ce(z)"])]
        killed, blocked, fine = [job.result() for job in pending]
    finally:
        pool.close()
    assert {evaluation.status for evaluation in killed + blocked} == {"failed"}
    assert [evaluation.seed for evaluation in killed] == [0, 1]
    assert killed[0].reason.startswith("killed its worker twice")
    assert blocked[0].reason == "stopped: not done within 5 s"
    assert {evaluation.status for evaluation in fine} == {"evaluated"}


def far_worker(arrived):
    """Make a class of workers whose data arrives when a file exists."""

    class Far(Worker):
        def receive(self, *sent):
            wait_until(arrived.exists)

    return Far


@pytest.mark.usefixtures("ray_pool")  # shares its cluster
def test_sending_data_to_a_worker_does_not_count_as_work_time(monkeypatch, tmp_path):
    monkeypatch.setattr(actors, "Worker", far_worker(tmp_path / "arrived"))
    pool = RayExecutor(workers=1, deadline=1.0)
    try:
        pending = pool.submit(work())
        while not pool._running:
            pool.advance(0.2)
        (running,) = pool._running.values()
        late = time.monotonic() + 3.0
        while time.monotonic() < late:
            pool.advance(0.2)
        assert list(pool._running.values()) == [running]  # it was not stopped
        pool._deadline = 10_000.0  # the work itself has time: the machine may be busy
        (tmp_path / "arrived").touch()
        evaluations = pending.result()
    finally:
        pool.close()
    assert without_times(evaluations) == without_times(evaluate(work()).evaluations)


@pytest.mark.long
@pytest.mark.usefixtures("ray_pool")  # shares its cluster
def test_a_cohort_that_dies_is_split_until_the_culprit_is_alone(monkeypatch):
    monkeypatch.setattr(actors, "Worker", DeadlyWorker)
    hurry_only(monkeypatch, lambda formula: formula == "y")
    texts = ["p", "ce(z)", "y"]
    cohort = replace(work(), candidates=tuple(work(text, number).candidates[0] for number, text in enumerate(texts)))
    pool = RayExecutor(workers=1, deadline=2.0)
    try:
        pending = pool.submit(cohort)
        evaluations = pending.result()
    finally:
        pool.close()
    assert [evaluation.formula for evaluation in evaluations] == [text for text in texts for _ in range(FIDELITY.seeds)]
    by_formula = {evaluation.formula: evaluation for evaluation in evaluations}
    assert by_formula["p"].reason.startswith("killed its worker twice")
    assert by_formula["y"].reason == "stopped: not done within 2 s"
    assert pending.notes()[0].startswith("a cohort of 3 killed its worker, ")
    assert "a cohort of 2 was not done within 4 s: split" in pending.notes()
    others = [evaluation for evaluation in evaluations if evaluation.formula not in ("p", "y")]
    numbers = [number for number, text in enumerate(texts) if text not in ("p", "y")]
    alone = [evaluation for number in numbers for evaluation in evaluate(work(texts[number], number)).evaluations]
    assert without_times(others) == without_times(alone)


class Unconfigured(Worker):
    def ready(self):
        raise UserError("Expected a CUDA GPU, got none")


@pytest.mark.usefixtures("ray_pool")  # shares its cluster
def test_a_worker_without_the_counted_gpu_is_an_error_of_the_cluster(monkeypatch):
    monkeypatch.setattr(actors, "Worker", Unconfigured)
    pool = RayExecutor(workers=1)
    try:
        with pytest.raises(ClusterUnreachable, match=r"A worker could not start: .*Expected a CUDA GPU"):
            pool.submit(work()).result()
    finally:
        pool.close()


def lost():
    raise RuntimeError("gone")


def test_lost_states_cost_a_training_from_the_start_without_an_error_of_ray(ray_pool, caplog):
    reference = actors.ray.remote(num_cpus=0)(lost).remote()
    went_on = ray_pool.submit(to_a_rung(["ce(z)"]), [reference]).result()
    assert without_times(went_on) == without_times(evaluate(to_a_rung(["ce(z)"])).evaluations)
    assert "Unhandled error" not in caplog.text


def worker_that_dies_once(mark):
    class Dying(Worker):
        def evaluate(self, work, label, sent, *states):
            if states and not mark.exists():
                mark.touch()
                os._exit(1)
            return super().evaluate(work, label, sent, *states)

    return Dying


@pytest.mark.long
@pytest.mark.usefixtures("ray_pool")  # shares its cluster
def test_a_worker_that_dies_with_states_costs_a_training_from_the_start(monkeypatch, tmp_path):
    monkeypatch.setattr(actors, "Worker", worker_that_dies_once(tmp_path / "died"))
    pool = RayExecutor(workers=1)
    try:
        first = pool.submit(to_a_rung(["ce(z)"], 6))
        first.result()
        went_on = pool.submit(to_a_rung(["ce(z)"]), first.states()).result()
    finally:
        pool.close()
    assert (tmp_path / "died").exists()
    assert without_times(went_on) == without_times(evaluate(to_a_rung(["ce(z)"])).evaluations)


@pytest.mark.usefixtures("ray_pool")  # shares its cluster, which has no GPU
def test_a_gpu_that_the_cluster_lacks_is_refused():
    with pytest.raises(ValueError, match="Expected a GPU for device = 'cuda', got a Ray cluster without one"):
        RayExecutor(workers=1, device="cuda")


def test_a_gpu_that_this_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="Expected a CUDA GPU, got none"):
        InlineExecutor("cuda")


GPU_CLUSTER = """
import ray
from lossearch.evaluators.work import Candidate, Work
from lossearch.evaluators.executors.executor import LARGEST_ON_A_GPU
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.executors import ray_pool
from lossearch.evaluators.executors.ray_executor import RayExecutor

class Worker(ray_pool.Worker):  # takes the CPU for the GPU that Ray was told of
    def __init__(self, device, sharers, board=None):
        assert device == "cuda"
        super().__init__("cpu", sharers, board)


ray_pool.Worker = Worker
ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
pool = RayExecutor()
assert (pool.slots, pool.largest_cohort) == (2, LARGEST_ON_A_GPU)
work = Work((Candidate("id", "ce(z)", 2, 0, "known", 1),), "digits", TrainingSettings(steps=5, seeds=1), 0)
(evaluation,) = pool.submit(work).result()
assert evaluation.status == "evaluated", evaluation
taken = ray.cluster_resources()["GPU"] - ray.available_resources().get("GPU", 0)
assert taken == 2, taken
assert RayExecutor(device="cpu").largest_cohort < LARGEST_ON_A_GPU
pool.close()
"""


@pytest.mark.long
def test_a_cluster_with_gpus_has_one_worker_for_each():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", GPU_CLUSTER], capture_output=True, text=True, timeout=1_800
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_address_without_an_answer_is_named():
    with pytest.raises(ClusterUnreachable, match=r"No Ray cluster answered at '127\.0\.0\.1:1'"):
        require_answer("127.0.0.1:1")
    require_answer("auto")


@pytest.mark.parametrize("address", ["nowhere", "host:port", "host:99999", ":6379", ""])
def test_an_invalid_address_is_a_user_error(address):
    with pytest.raises(ValueError, match="Expected a Ray address like"):
        require_answer(address)


def test_a_ray_that_does_not_start_here_is_named(monkeypatch):
    def init(*arguments, **options):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray_cluster.ray, "init", init)
    monkeypatch.setattr(ray_cluster.ray, "shutdown", lambda: None)  # of the Ray that tests share
    with pytest.raises(ClusterUnreachable, match=r"^Ray did not start on this machine: The current node timed out"):
        ray_cluster.connect(None)
