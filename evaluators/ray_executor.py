"""The Ray executor: a pool of actors on a cluster, one for each GPU, or for each core where there is none.

Invariant: an actor receives text and numbers, never trees or modules; a cohort that outlives its deadline or kills
its actor is split in two until the culprit is alone, which is a failure with a reason, and the pool goes on with a new
actor. Weights of trainings that may go on stay in Ray's object store, where the next actor finds them; where they are
lost, it trains from the start.
"""

import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluators.cluster_address import ClusterUnreachable
from evaluators.device import chosen_device
from evaluators.evaluation import evaluate
from evaluators.executors import LARGEST_ON_A_CORE, LARGEST_ON_A_GPU, Pending, merged
from evaluators.state import State
from evaluators.versions import versions
from evaluators.work import Result, Work, failures
from primitives.errors import UserError
from results.records import Evaluation, Measurement

# Nothing leaves the machine, and Ray's own lines do not break the progress bar.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

#: Seconds in which an actor must start where there is none.
START_TIMEOUT = 120.0


class _Worker:
    """The actor: one process on one core or GPU, which shares its node's memory with so many others."""

    def __init__(self, device: str, sharers: int) -> None:
        self._device, self._sharers = device, sharers

    def ready(self) -> bool:
        chosen_device(self._device)  # raises where the GPU that Ray counts is none to torch
        return True

    def evaluate(self, work: Work, *states: Mapping[str, State]) -> tuple[Result, dict[str, State]]:
        """The result without its states, and the states, which stay in the object store."""
        result = evaluate(replace(work, device=self._device), merged(states), self._sharers)
        return replace(result, states={}), result.states


class RayWork:
    """Work that waits for an actor, runs on one, was split in two, or is finished."""

    def __init__(self, work: Work, pool: "RayExecutor", before: Sequence[Any] = ()) -> None:
        self.work = work
        self.before = list(before)  #: references to states that it goes on from
        self.after: list[Any] = []  #: references to the states that it left
        self.said: list[str] = []
        self.measured: list[Measurement] = []
        self.attempts = 0
        self.evaluations: list[Evaluation] | None = None
        self.halves: tuple[RayWork, RayWork] | None = None
        self._pool = pool

    def done(self) -> bool:
        self._pool.advance(0.0)
        return self.found() is not None

    def result(self) -> list[Evaluation]:
        while (evaluations := self.found()) is None:
            self._pool.advance(1.0)
        return evaluations

    def notes(self) -> list[str]:
        of_halves = [note for half in self.halves or () for note in half.notes()]
        return [*self.said, *of_halves]

    def measurements(self) -> list[Measurement]:
        return [*self.measured, *(each for half in self.halves or () for each in half.measurements())]

    def states(self) -> list[Any]:
        return [*self.after, *(reference for half in self.halves or () for reference in half.states())]

    def fetched(self) -> Mapping[str, State]:
        try:
            return merged(ray.get(self.states()))
        except RayError:
            return {}

    def found(self) -> list[Evaluation] | None:
        """The evaluations, once they are all there."""
        if self.halves is not None and self.evaluations is None:
            first, second = (half.found() for half in self.halves)
            self.evaluations = None if first is None or second is None else first + second
        return self.evaluations

    def split(self, why: str) -> "tuple[RayWork, RayWork]":
        """Two pieces of work, each with half of the candidates, whose results make up this one's."""
        self.said.append(f"a cohort of {len(self.work.candidates)} {why}: split")
        first, second = self.work.halves()
        self.halves = RayWork(first, self._pool, self.before), RayWork(second, self._pool, self.before)
        return self.halves


@dataclass
class _Assignment:
    """Work that an actor does, until when it must be done, and the reference of the states that it will leave."""

    pending: RayWork
    actor: Any
    due: float
    states: Any


class RayExecutor:
    """Evaluates on a Ray cluster.

    ``address`` is None for a cluster started on this machine, ``auto`` or ``host:port`` for one that runs; where
    Ray was initialised before, that cluster is used whatever the address.
    ``workers`` is the number of actors, or None for one a GPU or core. ``deadline`` is the longest a candidate may
    take, in seconds, and a cohort as often as it has candidates. ``device`` is auto (GPUs where the cluster has some),
    cpu or cuda. Raises ClusterUnreachable, and UserError for GPUs that are none.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        deadline: float | None = None,
        device: str = "auto",
    ) -> None:
        self._started_here = not ray.is_initialized()
        if self._started_here:
            _connect(address)
        resources = ray.cluster_resources()
        cores, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0)) if device != "cpu" else 0
        if device == "cuda" and not gpus:
            self._shut_down()
            raise UserError("Expected a GPU for device = 'cuda', got a Ray cluster without one. Use 'auto' or 'cpu'.")
        self.slots = max(1, min(workers or gpus or cores, gpus or cores))
        self.largest_cohort = LARGEST_ON_A_GPU if gpus else LARGEST_ON_A_CORE
        self._deadline = deadline
        self._unit = "GPU" if gpus else "CPU"
        self._sharers = max(1, min(self.slots, cores // max(1, len(ray.nodes()))))
        self._device = "cuda" if gpus else "cpu"  # a GPU that Ray does not count is somebody else's
        options: dict[str, Any] = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        self._actor_class = ray.remote(max_restarts=0, max_task_retries=0, **options)(_Worker)
        self._queue: deque[RayWork] = deque()
        self._running: dict[Any, _Assignment] = {}
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._due: float | None = None  # when an actor must have started, while none is there
        for _ in range(self.slots):
            self._start_actor()

    def submit(self, work: Work, states: Iterable[Any] = ()) -> RayWork:
        pending = RayWork(work, self, list(states))
        self._queue.append(pending)
        self.advance(0.0)
        return pending

    def wait(self, pending: Sequence[Pending], timeout: float) -> None:
        end = time.monotonic() + timeout
        while not any(each.done() for each in pending) and time.monotonic() < end:
            self.advance(min(0.2, max(0.0, end - time.monotonic())))

    def close(self) -> None:
        for actor in [*self._idle, *self._starting.values(), *(each.actor for each in self._running.values())]:
            ray.kill(actor, no_restart=True)
        self._queue.clear()
        self._running.clear()
        self._starting.clear()
        self._idle.clear()
        self._shut_down()

    def _shut_down(self) -> None:
        if self._started_here:
            ray.shutdown()

    def advance(self, timeout: float) -> None:
        """Take in what has finished, enforce deadlines, and give idle actors work."""
        references = [*self._starting, *self._running]
        if references:
            ray.wait(references, num_returns=1, timeout=timeout, fetch_local=False)
            finished, _ = ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
            for reference in finished:  # all of them, before deadlines are looked at
                self._finish(reference)
        now = time.monotonic()
        self._require_workers(now)
        for reference, late in [(each, found) for each, found in self._running.items() if now > found.due]:
            del self._running[reference]
            self._stop(late)
        while self._idle and self._queue:
            self._assign(self._idle.pop(), self._queue.popleft())

    def _stop(self, late: "_Assignment") -> None:
        """Kill an actor whose work is not done in time, and split the work."""
        ray.kill(late.actor, no_restart=True)
        self._start_actor()
        limit = self._seconds_for(late.pending.work)
        if len(late.pending.work.candidates) > 1:
            self._queue.extendleft(reversed(late.pending.split(f"was not done within {limit:.0f} s")))
        else:
            late.pending.evaluations = failures(late.pending.work, f"stopped: not done within {limit:.0f} s")

    def _assign(self, actor: Any, pending: RayWork) -> None:
        pending.attempts += 1
        reference, states = actor.evaluate.options(num_returns=2).remote(pending.work, *pending.before)
        due = time.monotonic() + self._seconds_for(pending.work)
        self._running[reference] = _Assignment(pending, actor, due, states)

    def _finish(self, reference: Any) -> None:
        if reference in self._starting:
            actor = self._starting.pop(reference)
            try:
                ray.get(reference)
            except RayError as error:  # the cluster's fault, not a candidate's
                raise ClusterUnreachable(f"A worker could not start: {_last_line(error)}") from None
            self._idle.append(actor)
            return
        assignment = self._running.pop(reference)
        pending, actor = assignment.pending, assignment.actor
        try:
            result: Result = ray.get(reference)
            pending.evaluations, pending.said, pending.measured = result.evaluations, result.notes, result.measurements
            pending.after = [assignment.states]
            self._idle.append(actor)
        except RayTaskError as error:  # raised on a healthy actor: by the work, or because its states are lost
            self._idle.append(actor)
            if pending.before:
                pending.before = []
                self._queue.appendleft(pending)
            else:
                pending.evaluations = failures(pending.work, _last_line(error))
        except RayError as error:
            ray.kill(actor, no_restart=True)
            self._start_actor()
            self._retry(pending, _last_line(error))

    def _require_workers(self, now: float) -> None:
        """Raise ClusterUnreachable where no worker is there and none has started for too long."""
        if self._idle or self._running or not self._starting:
            self._due = None
            return
        self._due = self._due or now + START_TIMEOUT
        if now > self._due:
            raise ClusterUnreachable(
                f"No worker started within {START_TIMEOUT:.0f} s: the Ray cluster has no free {self._unit}, or its "
                f"nodes cannot import lossearch. See 'ray status'; free a {self._unit}, or install lossearch on every "
                "node."
            )

    def _retry(self, pending: RayWork, reason: str) -> None:
        """Do the work again, on another actor: in two halves, until the candidate that killed it is alone.

        A candidate that kills a second actor alone has failed. It starts anew: the states may be what was lost.
        """
        pending.before = [each for each in pending.before if isinstance(each, dict)]  # of a file, and not lost
        if len(pending.work.candidates) > 1:
            self._queue.extendleft(reversed(pending.split(f"killed its worker, {reason}")))
        elif pending.attempts < 2:
            self._queue.appendleft(pending)
        else:
            pending.evaluations = failures(pending.work, f"killed its worker twice: {reason}")

    def _start_actor(self) -> None:
        actor: Any = self._actor_class.remote(self._device, self._sharers)
        self._starting[actor.ready.remote()] = actor

    def _seconds_for(self, work: Work) -> float:
        if self._deadline is not None:
            return self._deadline * len(work.candidates)
        if work.unhurried:
            return math.inf
        return max(60.0, 20.0 * work.seconds_expected())


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:200]


def _connect(address: str | None) -> None:
    """Join a cluster, or start one on this machine."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    if address is None:
        ray.init(address="local", **options)
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RayError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterUnreachable(
            f"No Ray cluster answered at {address!r}: {str(error).strip().splitlines()[0]} "
            "Start one with 'ray start --head'; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as "
            "on its head; or leave out --ray-address to use this machine."
        ) from None


#: Seconds in which a node must tell about itself.
NODE_TIMEOUT = 30.0


def about_nodes(address: str | None) -> list[dict[str, str]]:
    """What each node of a cluster has: name, cores, GPU, versions; or an ``error`` that says why it cannot be asked.

    With no address a cluster is started on this machine, and stopped. Raises ClusterUnreachable.
    """
    started_here = not ray.is_initialized()
    if started_here:
        _connect(address)
    try:
        return [_about(node) for node in ray.nodes() if node["Alive"]]
    finally:
        if started_here:
            ray.shutdown()


def _about(node: Mapping[str, Any]) -> dict[str, str]:
    resources = node["Resources"]
    found = {"name": node["NodeManagerHostname"], "cores": f"{resources.get('CPU', 0):g}"}
    found |= {"gpu": f"{resources['GPU']:g} GPU"} if resources.get("GPU") else {}
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    try:
        asked = ray.remote(num_cpus=0)(versions).options(scheduling_strategy=there).remote()
        return found | ray.get(asked, timeout=NODE_TIMEOUT)
    except (RayError, TimeoutError) as error:
        return found | {"error": _last_line(error)}
