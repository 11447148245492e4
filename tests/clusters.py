"""Clusters of several nodes on this machine, which come and go."""

import math
import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TypeVar

import ray
from ray.cluster_utils import Cluster

from lossearch.evaluators.executors.ray_executor import RayExecutor
from lossearch.evaluators.executors.ray_worker import Worker

T = TypeVar("T")

#: Bytes of a node's object store.
MEMORY = 100_000_000


def start_patiently(start: Callable[[], T]) -> T:
    """Start something of Ray's. Try again where Ray gives up, which it does after half a minute on a busy machine."""
    for _ in range(9):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
    return start()


class Nodes:
    """A cluster whose head has no core for workers."""

    def __init__(self):
        head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
        self._cluster = start_patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        self.address = self._cluster.address

    def add(self, cores=1, **environment):
        """Add a node, whose processes have an environment."""
        node = self._cluster.add_node(wait=False, num_cpus=cores, object_store_memory=MEMORY, env_vars=environment)
        wait_until(lambda: self._num_alive() == 1 + len(self._cluster.worker_nodes))
        return node

    def kill(self, node):
        """Kill a node with all its processes."""
        self._cluster.remove_node(node, allow_graceful=False)

    def clear(self):
        """Kill every node but the head, and wait until Ray has noticed."""
        for node in list(self._cluster.worker_nodes):
            self.kill(node)
        wait_until(lambda: self._num_alive() == 1)

    def _num_alive(self):
        return sum(node["Alive"] for node in ray.nodes())

    def shutdown(self):
        self._cluster.shutdown()


def wait_until(condition: Callable[[], object], pause: float = 0.1, seconds: float = 600.0):
    """Wait until a condition holds. The limit suits a busy machine; no test measures it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what the test waits for did not come"
        time.sleep(pause)


@contextmanager
def several_nodes():
    """Start a cluster of several nodes and join it."""
    ray.shutdown()  # the Ray that tests share
    made = Nodes()
    ray.init(address=made.address, log_to_driver=False)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def blocked_worker(mark, everywhere=False):
    """Make a class of workers: the first leaves a mark and never ends, the others wait for the mark.

    The first is on the node whose environment has DOOMED, or anywhere where `everywhere` is set.
    """

    class Blocked(Worker):
        def evaluate(self, work, *more):
            if "DOOMED" in os.environ or (everywhere and not mark.exists()):
                mark.touch()
                time.sleep(10_000.0)
            wait_until(mark.exists)
            return super().evaluate(work, *more)

    return Blocked


def hurry_only(monkeypatch, is_endless):
    """Hold work to its deadline only if one of its formulas is endless: a machine may be busy with other work."""
    seconds_for = RayExecutor._seconds_for

    def seconds(executor, work):
        hurried = any(is_endless(candidate.formula) for candidate in work.candidates)
        return seconds_for(executor, work) if hurried else math.inf

    monkeypatch.setattr(RayExecutor, "_seconds_for", seconds)
