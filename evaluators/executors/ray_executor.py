"""The Ray executor: work on a pool of actors of a cluster, one for each GPU, or for each core where there is none.

Invariant: an actor receives text, numbers and the arrays of a task, never trees or modules; a cohort that outlives its
deadline or kills its actor is split in two until the culprit is alone, which is a failure with a reason, and the pool
goes on with a new actor. The deadline begins when all that the work needs has come to the actor's node, so that a slow
network fails nobody. An actor that vanishes with its node costs the work in flight, and blames nobody. Weights of
trainings that may go on stay in Ray's object store; where they are lost, a training begins from the start.
"""

import math
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from lossearch.evaluators.executors.executor import LARGEST_ON_A_CORE, LARGEST_ON_A_GPU, News, Pending, merged
from lossearch.evaluators.executors.pooled_work import PooledWork
from lossearch.evaluators.executors.ray_cluster import connect, last_line, nodes, vanished
from lossearch.evaluators.executors.ray_pool import Actor, Pool
from lossearch.evaluators.tasks.given_tasks import packed
from lossearch.evaluators.training.state import State
from lossearch.evaluators.work import Work, failures
from lossearch.primitives.errors import UserError

#: Workers that may vanish with one piece of work before it is blamed for that, and those that may run out of memory
#: with a candidate: Ray kills others beside the one that takes too much.
VANISHED_AT_MOST, OUT_OF_MEMORY_AT_MOST = 5, 4


@dataclass
class _Assignment:
    """Work that an actor does, the reference of the states that it will leave, and until when it must be done."""

    pending: PooledWork
    actor: Actor
    states: Any
    due: float = math.inf  #: while what it needs is on its way to the actor


class RayExecutor:
    """Evaluates on a Ray cluster.

    ``address`` is None for a cluster started on this machine, ``auto`` or ``host:port`` for one that runs; where
    Ray was initialised before, that cluster is used whatever the address.
    ``workers`` is the number of actors, or None for one a GPU or core, as many as the cluster has at any time; more
    than it has are started as it grows. ``deadline`` is the longest a candidate may take, in seconds, and a cohort as
    often as it has candidates. ``device`` is auto (GPUs where the cluster has some by now), cpu or cuda. Raises
    ClusterUnreachable, and UserError for GPUs that are none.
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
            connect(address)
        self._sends_data = not (self._started_here and address is None)
        gpus = nodes().gpus if device != "cpu" else 0
        if device == "cuda" and not gpus:
            self._shut_down()
            raise UserError(
                "Expected a GPU for device = 'cuda', got a Ray cluster without one. Start the search when a node with "
                "a GPU is there, or use 'auto' or 'cpu'."
            )
        self.largest_cohort = LARGEST_ON_A_GPU if gpus else LARGEST_ON_A_CORE
        self._deadline = deadline
        self._pool = Pool("GPU" if gpus else "CPU", workers, capped=not self._sends_data)
        self._queue: deque[PooledWork] = deque()
        self._running: dict[Any, _Assignment] = {}
        self._arriving: dict[Any, _Assignment] = {}  # by the reference that tells that all it needs is there
        self._data: dict[Any, Any] = {}  # references to what was sent

    @property
    def slots(self) -> int:
        return self._pool.slots

    def submit(self, work: Work, states: Iterable[Any] = ()) -> PooledWork:
        pending = PooledWork(work, self, list(states))
        self._queue.append(pending)
        self.advance(0.0)
        return pending

    def wait(self, pending: Sequence[Pending], timeout: float) -> None:
        end = time.monotonic() + timeout
        self.advance(0.0)
        while not any(each.done() for each in pending) and time.monotonic() < end:
            self.advance(min(0.2, max(0.0, end - time.monotonic())))

    def news(self) -> list[News]:
        return self._pool.news()

    def close(self) -> None:
        for each in self._running.values():
            ray.kill(each.actor.handle, no_restart=True)
        self._pool.close()
        self._queue.clear()
        self._running.clear()
        self._arriving.clear()
        self._data.clear()
        self._shut_down()

    def fetch(self, references: Sequence[Any]) -> Mapping[str, State]:
        try:
            return merged(ray.get(list(references)))
        except ray.exceptions.RayError:
            return {}

    def _shut_down(self) -> None:
        if self._started_here:
            ray.shutdown()

    def advance(self, timeout: float) -> None:
        """Take in what has finished, enforce deadlines, follow the cluster's size, and give idle actors work."""
        references = [*self._pool.starting, *self._arriving, *self._running]
        if references:
            ray.wait(references, num_returns=1, timeout=timeout, fetch_local=False)
            finished, _ = ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
            for reference in finished:  # all of them, before deadlines are looked at
                self._take_in(reference)
        elif timeout:
            time.sleep(timeout)
        now = time.monotonic()
        for reference, late in [(each, found) for each, found in self._running.items() if now > found.due]:
            del self._running[reference]
            self._stop(late)
        self._pool.follow(len(self._running))
        while self._pool.idle and self._queue:
            self._assign(self._pool.idle.pop(), self._queue.popleft())

    def _take_in(self, reference: Any) -> None:
        if reference in self._pool.starting:
            self._pool.begin(reference, len(self._running))
        elif reference in self._arriving:  # or cannot arrive, which the evaluation will tell
            self._begin(self._arriving.pop(reference))
        elif reference in self._running:
            self._finish(self._running.pop(reference), reference)

    def _assign(self, actor: Actor, pending: PooledWork) -> None:
        label, sent = self._sent(pending.work)
        arrival = actor.handle.receive.remote(sent, *pending.before) if self._sends_data else None
        call = actor.handle.evaluate.options(num_returns=2)
        reference, states = call.remote(pending.work, label, sent, *pending.before)
        self._running[reference] = assignment = _Assignment(pending, actor, states)
        if arrival is None:
            self._begin(assignment)
        else:
            self._arriving[arrival] = assignment

    def _begin(self, assignment: _Assignment) -> None:
        """From now on it is the work that takes time, and no longer the network."""
        assignment.due = time.monotonic() + self._seconds_for(assignment.pending.work)

    def _sent(self, work: Work) -> tuple[str, Any]:
        """A label and the reference of the data of the work's task, which Ray brings to each node once."""
        if not self._sends_data:  # this machine's processes map one file
            return "", None
        test = work.measured == "test"
        key = work.task, work.data, test
        if key not in self._data:
            self._data[key] = ray.put(packed(work.get_task(), test))
        return f"test {test}", self._data[key]

    def _finish(self, assignment: _Assignment, reference: Any) -> None:
        pending, actor = assignment.pending, assignment.actor
        try:
            pending.finish(ray.get(reference), assignment.states)
            self._pool.idle.append(actor)
        except ray.exceptions.RayTaskError as error:
            self._pool.idle.append(actor)  # it is healthy: the work raised, or its states are lost
            # The same error comes a moment later; Ray would show it as one that nobody saw.
            ray.wait([assignment.states], timeout=1.0)
            if pending.before:
                pending.before = []
                self._queue.appendleft(pending)
            else:
                pending.evaluations = failures(pending.work, last_line(error))
        except ray.exceptions.RayError as error:
            self._lose(actor)
            if vanished(error) and pending.vanished < VANISHED_AT_MOST:
                pending.vanished += 1
                pending.before = pending.before if pending.vanished == 1 else []  # which may be what is lost
                pending.said.append("a worker vanished with its node: its work is done again")
                self._queue.appendleft(pending)
            else:
                self._retry(pending, error)

    def _lose(self, actor: Actor) -> None:
        """Put another actor in the place of one that is gone."""
        self._pool.lose(actor)
        self._pool.follow(len(self._running), at_once=True)

    def _stop(self, late: _Assignment) -> None:
        """Kill an actor whose work is not done in time, and split the work."""
        self._lose(late.actor)
        limit = self._seconds_for(late.pending.work)
        if len(late.pending.work.candidates) > 1:
            self._queue.extendleft(reversed(late.pending.split(f"was not done within {limit:.0f} s")))
        else:
            late.pending.evaluations = failures(late.pending.work, f"stopped: not done within {limit:.0f} s")

    def _retry(self, pending: PooledWork, error: Exception) -> None:
        """Do the work again, on another actor: in two halves, until the candidate that killed it is alone.

        A candidate that kills a second actor alone has failed; where memory ran out it may have been another's doing,
        and it is tried more often. It starts anew: the states may be what was lost.
        """
        pending.attempts += 1
        pending.before = [each for each in pending.before if isinstance(each, dict)]  # of a file, and not lost
        of_memory = isinstance(error, ray.exceptions.OutOfMemoryError)
        reason = "the memory of its machine ran out" if of_memory else last_line(error)
        if len(pending.work.candidates) > 1:
            self._queue.extendleft(reversed(pending.split(f"killed its worker, {reason}")))
        elif pending.attempts < (OUT_OF_MEMORY_AT_MOST if of_memory else 2):
            self._queue.appendleft(pending)
        else:
            often = "twice" if pending.attempts == 2 else f"{pending.attempts} times"
            pending.evaluations = failures(pending.work, f"killed its worker {often}: {reason}")

    def _seconds_for(self, work: Work) -> float:
        if self._deadline is not None:
            return self._deadline * len(work.candidates)
        if work.unhurried:
            return math.inf
        return max(60.0, 20.0 * work.seconds_expected())
