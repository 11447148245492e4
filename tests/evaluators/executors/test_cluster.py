"""A pool on a real cluster whose nodes come and go."""

import os
import signal
import time
from dataclasses import replace

import pytest
import ray

from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.executors import ray_executor, ray_pool
from lossearch.evaluators.executors.cluster_address import ClusterUnreachable
from lossearch.evaluators.executors.ray_executor import RayExecutor
from lossearch.evaluators.executors.ray_worker import Worker
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.folder import FolderData
from lossearch.evaluators.work import Candidate, Work
from tests.clusters import blocked_worker, several_nodes
from tests.evaluators.loss_ids import loss_id
from tests.evaluators.small_images import write_folder

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="module")
def head():
    with several_nodes() as made:
        yield made


@pytest.fixture
def cluster(head):
    """Cluster with only a head, which has no core. Tests share the head and add nodes."""
    yield head
    head.clear()


def cohort(*texts):
    candidates = tuple(Candidate(loss_id(text), text, 2, 0, "known", 1) for text in texts)
    return Work(candidates, "digits", TrainingSettings(steps=15, seeds=2), 0)


def outcomes(evaluations):
    return [(evaluation.evaluation_id, evaluation.status, evaluation.fitness) for evaluation in evaluations]


def until(condition, pool, seconds=600.0):
    """Let the pool work until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        pool.advance(0.2)


@pytest.mark.long
def test_the_pool_grows_and_shrinks_with_the_cluster(cluster):
    node = cluster.add()
    pool = RayExecutor()
    assert pool.slots == 1
    cluster.add()
    until(lambda: len(pool._pool.idle) == 2, pool)
    assert pool.slots == 2
    pending = [pool.submit(cohort("ce(z)")), pool.submit(cohort("square(p - y)"))]
    until(lambda: all(job.done() for job in pending), pool)
    assert len({span.worker for work_ in pending for span in work_.spent()}) == 2
    cluster.kill(node)
    until(lambda: pool.slots == 1, pool)
    assert outcomes(pool.submit(cohort("ce(z)")).result()) == outcomes(evaluate(cohort("ce(z)")).evaluations)
    assert sum(message.text.endswith("has started") for message in pool.news()) == 2
    pool.close()


@pytest.mark.long
def test_a_search_may_begin_before_there_is_a_node_to_train_on(cluster):
    pool = RayExecutor()
    pending = pool.submit(cohort("ce(z)"))
    pool.advance(0.5)
    assert (pool.slots, pending.done()) == (1, False)
    cluster.add()
    assert {evaluation.status for evaluation in pending.result()} == {"evaluated"}
    pool.close()


def test_a_vanished_node_costs_only_its_work_in_flight(cluster, monkeypatch, tmp_path):
    mark = tmp_path / "at work"
    monkeypatch.setattr(ray_pool, "Worker", blocked_worker(mark))
    lost = cluster.add(DOOMED="1")
    pool = RayExecutor()
    work = cohort("ce(z)", "square(p - y)", "abs(p - y)")
    pending = pool.submit(work)
    until(mark.exists, pool)
    cluster.kill(lost)
    cluster.add()
    assert outcomes(pending.result()) == outcomes(evaluate(work).evaluations)
    assert pending.notes() == ["a worker vanished with its node: its work is done again"]
    assert any(message.is_warning and message.text.endswith("is gone") for message in pool.news())
    pool.close()


class TalkativeWorker(Worker):
    """Returns a result so large that Ray leaves it on the node until it is fetched."""

    def evaluate(self, work, *more):
        result, states = super().evaluate(work, *more)
        return replace(result, notes=["x" * 1_000_000]), states


@pytest.mark.long
def test_a_result_lost_with_its_node_is_computed_again(cluster, monkeypatch):
    monkeypatch.setattr(ray_pool, "Worker", TalkativeWorker)
    lost = cluster.add()
    pool = RayExecutor()
    work = cohort("ce(z)")
    pending = pool.submit(work)
    until(lambda: pool._running, pool)
    (reference,) = pool._running
    assert ray.wait([reference], timeout=600.0, fetch_local=False)[0]
    cluster.kill(lost)
    cluster.add()
    errors = counted(monkeypatch, ray_executor, "is_node_loss")
    assert outcomes(pending.result()) == outcomes(evaluate(work).evaluations)
    assert pending.notes()[0] == "a worker vanished with its node: its work is done again"
    assert isinstance(errors[0][0], ray.exceptions.ObjectLostError), errors
    pool.close()


@pytest.mark.long
def test_a_worker_that_is_killed_from_outside_costs_one_more_attempt(cluster, monkeypatch, tmp_path):
    mark = tmp_path / "at work"
    monkeypatch.setattr(ray_pool, "Worker", blocked_worker(mark, everywhere=True))
    cluster.add()
    pool = RayExecutor()
    work = cohort("ce(z)", "square(p - y)")
    pending = pool.submit(work)
    until(mark.exists, pool)
    (running,) = pool._running.values()
    os.kill(int(running.actor.name.split(":")[1]), signal.SIGKILL)
    assert outcomes(pending.result()) == outcomes(evaluate(work).evaluations)
    assert pending.notes()[0].startswith("a cohort of 2 killed its worker, ")
    assert [message.gone for message in pool.news() if message.gone] == [running.actor.name]
    pool.close()


class PickyWorker(Worker):
    """Cannot start on a badly configured node, and starts slowly elsewhere."""

    def ready(self):
        if "SET_UP_BADLY" in os.environ:
            raise ModuleNotFoundError("No module named 'lossearch'")
        return super().ready()

    def evaluate(self, work, *more):
        time.sleep(2.0)
        return super().evaluate(work, *more)


@pytest.mark.long
def test_a_node_where_no_worker_starts_is_reported_once_and_delays_no_other(cluster, monkeypatch):
    monkeypatch.setattr(ray_pool, "Worker", PickyWorker)
    monkeypatch.setattr(ray_pool, "PAUSE", 0.0)
    cluster.add()
    pool = RayExecutor()
    until(lambda: pool._pool.idle, pool)
    cluster.add(cores=2, SET_UP_BADLY="1")
    failures = counted(monkeypatch, pool._pool, "_report_failed_start")
    until(lambda: len(failures) >= 3, pool)
    assert sum("could not start: ModuleNotFoundError" in message.text for message in pool.news()) == 1
    monkeypatch.setattr(ray_pool, "PAUSE", 10_000.0)  # more than the test waits
    until(lambda: len(failures) >= 4 and not pool._pool.starting, pool)
    pending = pool.submit(cohort("ce(z)"))
    until(lambda: pool._running, pool)
    (running,) = pool._running.values()
    os.kill(int(running.actor.name.split(":")[1]), signal.SIGKILL)
    until(pending.done, pool)
    assert {evaluation.status for evaluation in pending.result()} == {"evaluated"}
    pool.close()


def counted(monkeypatch, owner, name):
    """Record the arguments of a function's calls. The function works as before."""
    calls, method = [], getattr(owner, name)

    def counting(*words):
        calls.append(words)
        return method(*words)

    monkeypatch.setattr(owner, name, counting)
    return calls


def without_workers(cluster, pool):
    """Give a pool a worker, and lose the worker with its node."""
    node = cluster.add()
    until(lambda: pool._pool.idle, pool)
    cluster.kill(node)
    until(lambda: not pool._pool.idle, pool)


def impatient(monkeypatch):
    monkeypatch.setattr(ray_pool, "PATIENCE", 0.1)
    monkeypatch.setattr(ray_pool, "START_TIMEOUT", 1.0)


@pytest.mark.long
def test_lost_workers_may_return_much_later(cluster, monkeypatch):
    pool = RayExecutor()
    without_workers(cluster, pool)
    impatient(monkeypatch)
    pending = pool.submit(cohort("ce(z)"))
    until(lambda: pool._pool._alone_since < time.monotonic() - 2.0, pool)
    assert sum("no worker for 0 s, waiting" in message.text for message in pool.news()) == 1
    cluster.add()
    assert {evaluation.status for evaluation in pending.result()} == {"evaluated"}
    pool.close()


def test_a_cluster_where_no_worker_ever_started_is_given_up(cluster, monkeypatch):
    impatient(monkeypatch)
    pool = RayExecutor()
    with pytest.raises(ClusterUnreachable, match="No worker started within 1 s: the Ray cluster has no free CPU"):
        pool.submit(cohort("ce(z)")).result()
    pool.close()


@pytest.mark.long
def test_lost_workers_do_not_return_to_a_cluster_that_cannot_grow(cluster, monkeypatch):
    pool = RayExecutor()
    pool._pool._capped = True  # as on a cluster that was started here
    without_workers(cluster, pool)
    impatient(monkeypatch)
    with pytest.raises(ClusterUnreachable, match="No worker started within 1 s"):
        pool.submit(cohort("ce(z)")).result()
    pool.close()


@pytest.mark.long
def test_workers_need_no_data_of_their_own(cluster, tmp_path):
    write_folder(tmp_path / "photos", each=12)
    data = FolderData(folder=str(tmp_path / "photos"), size=8)
    work = Work(cohort("ce(z)").candidates, "pets", TrainingSettings(steps=5, seeds=1), 0, data=data)
    measured = replace(work, measured="test")
    here, tested = evaluate(work).evaluations, evaluate(measured).measurements
    for path in sorted((tmp_path / "photos").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    cluster.add()
    pool = RayExecutor()
    assert outcomes(pool.submit(work).result()) == outcomes(here)
    there = pool.submit(measured)
    there.result()
    assert [measurement.value for measurement in there.measurements()] == [measurement.value for measurement in tested]
    assert len(pool._data) == 2  # without the test part, then with it
    pool.close()
