"""Clusters of several nodes on this machine, which come and go."""

import time
from contextlib import contextmanager

import ray
from ray.cluster_utils import Cluster

from lossearch.evaluators.executors.ray_worker import Worker

#: Bytes of a node's object store.
MEMORY = 100_000_000


class Nodes:
    """A cluster whose head has no core for workers."""

    def __init__(self):
        head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = self._cluster.address

    def add(self, cores=1, **environment):
        """Add a node, whose processes have an environment."""
        return self._cluster.add_node(num_cpus=cores, object_store_memory=MEMORY, env_vars=environment)

    def kill(self, node):
        """Have a node vanish, with all its processes."""
        self._cluster.remove_node(node, allow_graceful=False)

    def shutdown(self):
        self._cluster.shutdown()


@contextmanager
def several_nodes():
    """A cluster that this process has joined."""
    made = Nodes()
    ray.init(address=made.address, log_to_driver=False)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def slow_worker(seconds):
    """A class of workers that take their time, so that something can happen meanwhile."""

    class Slow(Worker):
        def evaluate(self, work, *more):
            time.sleep(seconds)
            return super().evaluate(work, *more)

    return Slow
