"""The pool of actors of a Ray executor, which grows and shrinks with the cluster and reports events.

Invariant: a lack of actors ends a search only if no actor ever started, or if the cluster cannot grow. Otherwise the
pool waits, because more workers may come. Actors on nodes that are gone get no work.
"""

import math
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lossearch.evaluators.executors.cluster_address import ClusterUnreachable
from lossearch.evaluators.executors.executor import News
from lossearch.evaluators.executors.ray_cluster import is_node_loss, last_line, living_nodes
from lossearch.evaluators.executors.ray_worker import Started, Worker
from lossearch.evaluators.versions import versions

#: Seconds that a first actor has to start, and seconds without any actor until the user is warned.
START_TIMEOUT, PATIENCE = 120.0, 20.0

#: Seconds between looks at the nodes of the cluster, and seconds without growth after an actor could not start.
LOOK_EVERY, PAUSE = 2.0, 60.0


@dataclass(frozen=True)
class Actor:
    """An actor that has started: its handle, its name and its node."""

    handle: Any
    name: str
    node: str


class Pool:
    """Actors on one CPU or GPU each: ``wanted`` of them, or one for each that the cluster has if ``wanted`` is None.

    A ``capped`` pool never wants more actors than the cluster has room for now: nothing can add room, or bring back
    what is lost.
    """

    def __init__(self, unit: str, wanted: int | None, capped: bool, board: Any = None) -> None:
        self._board = board
        self.idle: list[Actor] = []
        self.starting: dict[Any, Any] = {}  #: handles of actors, by the reference that is ready when they are
        self._unit, self._declared, self._capped = unit, wanted, capped
        self._device = "cuda" if unit == "GPU" else "cpu"  # a GPU that Ray does not count belongs to somebody else
        options: dict[str, Any] = {"num_gpus": 1} if unit == "GPU" else {"num_cpus": 1}
        self._actor_class = ray.remote(max_restarts=0, max_task_retries=0, **options)(Worker)
        self._news: list[News] = []
        self._alone_since: float | None = None  # time at which the last actor was gone
        self._has_warned = False  # that there is no actor
        self._has_worked = False  # True once an actor has started
        self._had_room = False  # for the actors that are starting, when they were asked for
        self._vacant: list[str] = []  # nodes of lost actors that are not replaced yet
        self._bound: set[Any] = set()  # references of starting actors that replace one on its node
        self._reasons: set[str] = set()  # reported reasons why actors could not start
        self._paused_until = self._looked_at = -math.inf
        self._resize(0)

    @property
    def slots(self) -> int:
        """Number of actors, including those that will start and that the cluster has room for."""
        return max(1, min(self._wanted, self._room))

    def news(self) -> list[News]:
        """Return the events since the last call."""
        news, self._news = self._news, []
        return news

    def follow(self, busy: int, at_once: bool = False) -> None:
        """Adapt the number of actors to the cluster from time to time. ``busy`` actors have work.

        Raises ClusterUnreachable.
        """
        now = time.monotonic()
        if at_once or now > self._looked_at + LOOK_EVERY:
            self._resize(busy)
        self._require_actors(now, busy)

    def begin(self, reference: Any, busy: int) -> None:
        """Take in an actor that has started, or could not. Raises ClusterUnreachable."""
        handle = self.starting.pop(reference)
        try:
            started: Started = ray.get(reference)
        except ray.exceptions.RayError as error:  # the cluster's fault, not a candidate's
            if not is_node_loss(error):
                self._report_failed_start(last_line(error), busy)
            return
        differing = {key: version for key, version in started.versions.items() if versions().get(key) != version}
        listed = ", ".join(f"{key} {version}" for key, version in differing.items())
        if "lossearch" in differing:
            ray.kill(handle, no_restart=True)
            host = started.name.rpartition(":")[0]
            self._report_failed_start(f"{host} has {listed}, unlike this machine.", busy)
            return
        self._has_worked = True
        unlike = f", with {listed} unlike this machine: results may differ" if differing else ""
        self._news.append(News(f"worker {started.name} has started{unlike}", is_warning=bool(differing)))
        self.idle.append(Actor(handle, started.name, started.node))

    def lose(self, actor: Actor) -> None:
        """Report that an actor is gone, kill what is left of it, and make room for another one."""
        ray.kill(actor.handle, no_restart=True)
        self._vacant.append(actor.node)
        self._news.append(News(f"worker {actor.name} is gone", is_warning=True, gone=actor.name))

    def close(self) -> None:
        """Kill the actors without work."""
        for handle in [*(actor.handle for actor in self.idle), *self.starting.values()]:
            ray.kill(handle, no_restart=True)
        self.idle.clear()
        self.starting.clear()

    def _resize(self, busy: int) -> None:
        """Start or stop actors, so that there are as many as wanted."""
        nodes = living_nodes()
        self._looked_at = time.monotonic()
        self._room = nodes.gpus if self._unit == "GPU" else nodes.cores
        self._wanted = self._room if self._declared is None else self._declared
        self._wanted = max(1, min(self._wanted, self._room) if self._capped else self._wanted)
        self._sharers = max(1, min(self.slots, nodes.cores // max(1, len(nodes.alive))))
        for actor in [actor for actor in self.idle if actor.node not in nodes.alive]:
            self.idle.remove(actor)
            self.lose(actor)
        missing = self._wanted - len(self.idle) - len(self.starting) - busy
        if missing > 0:
            has_room = self._capped or ray.available_resources().get(self._unit, 0.0) >= 1.0
            self._had_room = has_room or (self._had_room and bool(self.starting))
        self._fill(missing)

    def _fill(self, missing: int) -> None:
        """Start ``missing`` actors, or stop ``-missing`` that have not started yet.

        During a pause the pool does not grow. Lost actors are replaced, but on their own nodes: elsewhere actors could
        not start.
        """
        vacant, self._vacant = self._vacant, []
        if time.monotonic() < self._paused_until:
            for node in vacant[: max(0, missing)]:
                self._bound.add(self._start_actor(NodeAffinitySchedulingStrategy(node, soft=True)))
        else:
            waiting, self._bound = self._bound & self.starting.keys(), set()
            for reference in waiting:  # their places may have been taken
                ray.kill(self.starting.pop(reference), no_restart=True)
            for _ in range(missing + len(waiting)):
                self._start_actor("DEFAULT")
        for reference in list(self.starting)[: max(0, -missing)]:
            ray.kill(self.starting.pop(reference), no_restart=True)

    def _start_actor(self, strategy: Any) -> Any:
        """Start an actor with one of Ray's scheduling strategies. Return the reference that is ready when it is."""
        handle: Any = self._actor_class.options(scheduling_strategy=strategy).remote(
            self._device, self._sharers, self._board
        )
        reference = handle.ready.remote()
        self.starting[reference] = handle
        return reference

    def _report_failed_start(self, reason: str, busy: int) -> None:
        """Pause growth, and report each reason once. Raises ClusterUnreachable if no actor has started or may yet."""
        if not (self._has_worked or busy or self.idle or self.starting):
            raise ClusterUnreachable(
                f"A worker could not start: {reason} Install lossearch, in the version of this machine, on every node; "
                "'lossearch doctor --ray-address ...' asks each of them."
            )
        self._paused_until = time.monotonic() + PAUSE
        if reason not in self._reasons:
            self._reasons.add(reason)
            self._news.append(News(f"a worker could not start: {reason}", is_warning=True))

    def _require_actors(self, now: float, busy: int) -> None:
        """Warn if there is no room for an actor, and raise ClusterUnreachable if none has started for too long.

        Actors that have room are starting, which takes long on a busy machine: no reason for a warning. On a cluster
        that can grow, workers that have left may come back, even after hours.
        """
        if self.idle or busy:
            self._alone_since, self._has_warned = None, False
            return
        self._alone_since = now if self._alone_since is None else self._alone_since
        seconds_alone = now - self._alone_since
        is_starting = self._had_room and self._room > 0
        reason = (
            f"the Ray cluster has no free {self._unit}, or its nodes cannot import lossearch. See 'ray status'; free a "
            f"{self._unit}, or install lossearch on every node."
        )
        if is_starting:
            reason = (
                f"a {self._unit} is free, but the machine may be busy or short of memory. Free some, or train in this "
                'process: executor = "inline".'
            )
        if seconds_alone > START_TIMEOUT and (self._capped or not self._has_worked):
            raise ClusterUnreachable(f"No worker started within {START_TIMEOUT:.0f} s: {reason}")
        if seconds_alone > PATIENCE and not is_starting and not self._has_warned:
            self._has_warned = True
            self._news.append(News(f"no worker for {PATIENCE:.0f} s, waiting: {reason}", is_warning=True))
