"""A pool on a real cluster of several nodes, which come and go."""

import os
import signal
import time
from dataclasses import replace

import pytest
import ray
from ray.cluster_utils import Cluster

from evaluators import ray_pool as actors
from evaluators.evaluation import evaluate
from evaluators.fidelity import Fidelity
from evaluators.ray_executor import RayExecutor
from evaluators.tasks.folder import FolderData
from evaluators.work import Candidate, Work
from tests.evaluators.small_images import write_folder

MEMORY = 100_000_000


class SlowWorker(actors.Worker):
    """Takes its time, so that something can happen meanwhile."""

    def evaluate(self, work, *more):
        time.sleep(2.0)
        return super().evaluate(work, *more)


@pytest.fixture
def cluster():
    """A cluster whose head has no core for workers."""
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
    )
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def cohort(*texts):
    candidates = tuple(Candidate(text, text, 2, 0, "known", 1) for text in texts)
    return Work(candidates, "digits", Fidelity(steps=15, seeds=2), 0)


def outcomes(evaluations):
    return [(each.evaluation_id, each.status, each.fitness) for each in evaluations]


def until(condition, pool, seconds=60.0):
    """Let the pool go on until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        pool.advance(0.2)


def test_the_pool_grows_and_shrinks_with_the_cluster(cluster):
    node = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    pool = RayExecutor()
    assert pool.slots == 1
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    until(lambda: len(pool._pool.idle) == 2, pool)
    assert pool.slots == 2
    pending = [pool.submit(cohort("ce(z)")), pool.submit(cohort("square(p - y)"))]
    until(lambda: all(each.done() for each in pending), pool)
    assert len({each.worker for one in pending for each in one.spent()}) == 2
    cluster.remove_node(node, allow_graceful=False)
    until(lambda: pool.slots == 1, pool)
    assert outcomes(pool.submit(cohort("ce(z)")).result()) == outcomes(evaluate(cohort("ce(z)")).evaluations)
    assert sum(each.text.endswith("has started") for each in pool.news()) == 2
    pool.close()


def test_a_search_may_begin_before_there_is_a_node_to_train_on(cluster):
    pool = RayExecutor()
    pending = pool.submit(cohort("ce(z)"))
    pool.advance(0.5)
    assert (pool.slots, pending.done()) == (1, False)
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    assert {each.status for each in pending.result()} == {"evaluated"}
    pool.close()


def test_a_node_that_vanishes_costs_its_work_in_flight_and_blames_nobody(cluster, monkeypatch):
    monkeypatch.setattr(actors, "Worker", SlowWorker)
    lost = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    pool = RayExecutor()
    work = cohort("ce(z)", "square(p - y)", "abs(p - y)")
    pending = pool.submit(work)
    until(lambda: pool._running, pool)
    time.sleep(0.5)
    cluster.remove_node(lost, allow_graceful=False)
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    assert outcomes(pending.result()) == outcomes(evaluate(work).evaluations)
    assert pending.notes() == ["a worker vanished with its node: its work is done again"]
    assert any(each.is_warning and each.text.endswith("is gone") for each in pool.news())
    pool.close()


def test_a_worker_that_is_killed_from_outside_costs_one_more_attempt(cluster, monkeypatch):
    monkeypatch.setattr(actors, "Worker", SlowWorker)
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    pool = RayExecutor()
    work = cohort("ce(z)", "square(p - y)")
    pending = pool.submit(work)
    until(lambda: pool._running, pool)
    time.sleep(0.5)
    (running,) = pool._running.values()
    os.kill(int(running.actor.name.split(":")[1]), signal.SIGKILL)
    assert outcomes(pending.result()) == outcomes(evaluate(work).evaluations)
    assert pending.notes()[0].startswith("a cohort of 2 killed its worker, ")
    assert [each.gone for each in pool.news() if each.gone] == [running.actor.name]
    pool.close()


def test_workers_need_no_data_of_their_own(cluster, tmp_path):
    write_folder(tmp_path / "photos", each=12)
    data = FolderData(folder=str(tmp_path / "photos"), size=8)
    work = Work(cohort("ce(z)").candidates, "pets", Fidelity(steps=5, seeds=1, network="cnn"), 0, data=data)
    measured = replace(work, measured="test")
    here, tested = evaluate(work).evaluations, evaluate(measured).measurements
    for each in sorted((tmp_path / "photos").rglob("*"), reverse=True):
        each.unlink() if each.is_file() else each.rmdir()
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    pool = RayExecutor()
    assert outcomes(pool.submit(work).result()) == outcomes(here)
    there = pool.submit(measured)
    there.result()
    assert [each.value for each in there.measurements()] == [each.value for each in tested]
    assert len(pool._data) == 2  # without the test part, then with it
    pool.close()
