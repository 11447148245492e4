"""Warnings of the pool of workers, without a cluster."""

import pytest

from lossearch.evaluators.executors import ray_pool
from lossearch.evaluators.executors.cluster_address import ClusterUnreachable
from lossearch.evaluators.executors.ray_cluster import Nodes
from lossearch.evaluators.executors.ray_pool import Pool


@pytest.fixture
def cluster(monkeypatch):
    """Stand in for Ray: one core, of which ``free`` are free. Started actors are kept, and never become ready."""
    free = {"CPU": 1.0}
    nodes = Nodes(frozenset(["here"]), 1, 0)
    monkeypatch.setattr(ray_pool, "living_nodes", lambda: nodes)
    monkeypatch.setattr(ray_pool.ray, "available_resources", lambda: free)
    monkeypatch.setattr(Pool, "_start_actor", lambda pool, strategy: pool.starting.setdefault(len(pool.starting), 0))
    return free


def wait(pool, seconds):
    """Look at the pool now and some seconds later, and return what it reports."""
    now = ray_pool.time.monotonic()
    pool._require_actors(now, 0)
    pool._require_actors(now + seconds, 0)
    return [news.text for news in pool.news()]


@pytest.mark.parametrize("capped", [False, True])
def test_workers_that_are_only_starting_cause_no_warning(cluster, capped):
    pool = Pool("CPU", None, capped)
    cluster["CPU"] = 0.0  # the worker has it now
    pool._resize(0)
    assert wait(pool, ray_pool.PATIENCE + 1.0) == []
    with pytest.raises(ClusterUnreachable, match="a CPU is free, but the machine may be busy"):
        wait(pool, ray_pool.START_TIMEOUT + 1.0)


def test_a_cluster_without_free_cores_is_warned_of_once(cluster):
    cluster["CPU"] = 0.0
    pool = Pool("CPU", None, False)
    (text,) = wait(pool, ray_pool.PATIENCE + 1.0)
    assert "the Ray cluster has no free CPU" in text
    assert wait(pool, ray_pool.PATIENCE + 1.0) == []
