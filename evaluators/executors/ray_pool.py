"""The pool of actors of a Ray executor: it grows and shrinks with the cluster, and tells what happens to it.

Invariant: an actor that could not start, or the lack of any, ends a search only where nothing better can come: where
none has ever started, or on a cluster that cannot grow. On nodes that are gone there is no actor that is given work.
"""

import math
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lossearch.evaluators.executors.cluster_address import ClusterUnreachable
from lossearch.evaluators.executors.executor import News
from lossearch.evaluators.executors.ray_cluster import last_line, nodes, vanished
from lossearch.evaluators.executors.ray_worker import Started, Worker
from lossearch.evaluators.versions import versions

#: Seconds in which an actor must start where there is none, and after which a user is told that there is none.
START_TIMEOUT, PATIENCE = 120.0, 20.0

#: Seconds between looks at the cluster's nodes, and in which a pool does not grow after an actor could not start.
LOOK_EVERY, PAUSE = 2.0, 60.0


@dataclass(frozen=True)
class Actor:
    """An actor that has started: its handle, its name and its node."""

    handle: Any
    name: str
    node: str


class Pool:
    """Actors on one CPU or GPU each: ``wanted`` of them, or as many as the cluster has room for where that is None.

    ``capped`` are never more than there is room for now: nothing will make more room, or bring back what is lost.
    """

    def __init__(self, unit: str, wanted: int | None, capped: bool) -> None:
        self.idle: list[Actor] = []
        self.starting: dict[Any, Any] = {}  #: handles by the reference that tells that they are ready
        self._unit, self._declared, self._capped = unit, wanted, capped
        self._device = "cuda" if unit == "GPU" else "cpu"  # a GPU that Ray does not count is somebody else's
        options: dict[str, Any] = {"num_gpus": 1} if unit == "GPU" else {"num_cpus": 1}
        self._actor_class = ray.remote(max_restarts=0, max_task_retries=0, **options)(Worker)
        self._news: list[News] = []
        self._alone_since: float | None = None  # when the last actor was gone
        self._told = False  # that there is none
        self._has_worked = False  # an actor has started, some time
        self._vacant: list[str] = []  # nodes of actors that are gone, whose places are to be filled
        self._bound: set[Any] = set()  # of those starting, the ones that wait for such a place
        self._reasons: set[str] = set()  # why actors could not start, as it was told
        self._paused_until = self._looked_at = -math.inf
        self._follow(0)

    @property
    def slots(self) -> int:
        """Actors that there are, or will be when those have started that the cluster has room for."""
        return max(1, min(self._wanted, self._room))

    def news(self) -> list[News]:
        """What happened since this was last asked."""
        news, self._news = self._news, []
        return news

    def follow(self, busy: int, at_once: bool = False) -> None:
        """Now and then have as many actors as are wanted; so many are ``busy``. Raises ClusterUnreachable."""
        now = time.monotonic()
        if at_once or now > self._looked_at + LOOK_EVERY:
            self._follow(busy)
        self._require_workers(now, busy)

    def _follow(self, busy: int) -> None:
        there = nodes()
        self._looked_at = time.monotonic()
        self._room = there.gpus if self._unit == "GPU" else there.cores
        self._wanted = self._room if self._declared is None else self._declared
        self._wanted = max(1, min(self._wanted, self._room) if self._capped else self._wanted)
        self._sharers = max(1, min(self.slots, there.cores // max(1, len(there.alive))))
        for actor in [each for each in self.idle if each.node not in there.alive]:
            self.idle.remove(actor)
            self.lose(actor)
        self._fill(self._wanted - len(self.idle) - len(self.starting) - busy)

    def _fill(self, missing: int) -> None:
        """Start so many actors, or stop some that have not started yet. In a pause there is no growth.

        In a pause those that are gone are replaced where they were: elsewhere is where actors could not start.
        """
        vacant, self._vacant = self._vacant, []
        if time.monotonic() < self._paused_until:
            for node in vacant[: max(0, missing)]:
                self._bound.add(self._start_actor(NodeAffinitySchedulingStrategy(node, soft=True)))
        else:
            waiting, self._bound = self._bound & self.starting.keys(), set()
            for reference in waiting:  # whose places may have been taken
                ray.kill(self.starting.pop(reference), no_restart=True)
            for _ in range(missing + len(waiting)):
                self._start_actor("DEFAULT")
        for reference in list(self.starting)[: max(0, -missing)]:
            ray.kill(self.starting.pop(reference), no_restart=True)

    def _start_actor(self, there: Any) -> Any:
        """Start an actor by a scheduling strategy of Ray's. Returns the reference that tells that it is ready."""
        handle: Any = self._actor_class.options(scheduling_strategy=there).remote(self._device, self._sharers)
        reference = handle.ready.remote()
        self.starting[reference] = handle
        return reference

    def lose(self, actor: Actor) -> None:
        """Say that an actor is gone, see to it that nothing of it is left, and let another one take its place."""
        ray.kill(actor.handle, no_restart=True)
        self._vacant.append(actor.node)
        self._news.append(News(f"worker {actor.name} is gone", is_warning=True, gone=actor.name))

    def begin(self, reference: Any, busy: int) -> None:
        """Take in an actor that has started, or could not. Raises ClusterUnreachable."""
        handle = self.starting.pop(reference)
        try:
            started: Started = ray.get(reference)
        except ray.exceptions.RayError as error:  # the cluster's fault, not a candidate's
            if not vanished(error):
                self._cannot_start(last_line(error), busy)
            return
        other = [f"{key} {there}" for key, there in started.versions.items() if versions().get(key) != there]
        if any(each.startswith("lossearch ") for each in other):
            ray.kill(handle, no_restart=True)
            host = started.name.rpartition(":")[0]
            self._cannot_start(f"{host} has {', '.join(other)}, unlike this machine.", busy)
            return
        self._has_worked = True
        unlike = f", with {', '.join(other)} unlike this machine: results may differ" if other else ""
        self._news.append(News(f"worker {started.name} has started{unlike}", is_warning=bool(other)))
        self.idle.append(Actor(handle, started.name, started.node))

    def _cannot_start(self, reason: str, busy: int) -> None:
        """Grow later, and tell why, once. Raises ClusterUnreachable where no actor has started, and none may yet."""
        if not (self._has_worked or busy or self.idle or self.starting):
            raise ClusterUnreachable(
                f"A worker could not start: {reason} Install lossearch, in the version of this machine, on every node; "
                "'lossearch doctor --ray-address ...' asks each of them."
            )
        self._paused_until = time.monotonic() + PAUSE
        if reason not in self._reasons:
            self._reasons.add(reason)
            self._news.append(News(f"a worker could not start: {reason}", is_warning=True))

    def _require_workers(self, now: float, busy: int) -> None:
        """Tell where no worker is there, and raise ClusterUnreachable where none has started for too long.

        On a cluster that workers have left, they may come back, be it after hours.
        """
        if self.idle or busy:
            self._alone_since, self._told = None, False
            return
        self._alone_since = now if self._alone_since is None else self._alone_since
        alone = now - self._alone_since
        why = (
            f"the Ray cluster has no free {self._unit}, or its nodes cannot import lossearch. See 'ray status'; free a "
            f"{self._unit}, or install lossearch on every node."
        )
        if alone > START_TIMEOUT and (self._capped or not self._has_worked):
            raise ClusterUnreachable(f"No worker started within {START_TIMEOUT:.0f} s: {why}")
        if alone > PATIENCE and not self._told:
            self._told = True
            self._news.append(News(f"no worker is there since {PATIENCE:.0f} s, waiting: {why}", is_warning=True))

    def close(self) -> None:
        """Kill the actors that have no work."""
        for handle in [*(each.handle for each in self.idle), *self.starting.values()]:
            ray.kill(handle, no_restart=True)
        self.idle.clear()
        self.starting.clear()
