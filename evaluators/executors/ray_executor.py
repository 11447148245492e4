"""The Ray executor: work on a pool of actors of a cluster, one for each GPU, or for each core if there is no GPU.

Invariant: an actor receives text, numbers and the arrays of a task, never trees or modules. A cohort that misses its
deadline or kills its actor is split in two until the culprit is alone. The culprit is a failure with a reason, and the
pool goes on with a new actor. A deadline begins when everything that the work needs has reached the node of the actor,
so that a slow network fails no candidate. If an actor vanishes with its node, its work is done again, and no candidate
is blamed. Weights of trainings that may continue stay in Ray's object store. If they are lost, a training starts again
from step 0.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from lossearch.evaluators.executors.executor import LARGEST_ON_A_CORE, LARGEST_ON_A_GPU, News, Pending, merge_states
from lossearch.evaluators.executors.pooled_work import PooledWork
from lossearch.evaluators.executors.ray_board import BoardReader
from lossearch.evaluators.executors.ray_cluster import connect, is_node_loss, last_line, living_nodes
from lossearch.evaluators.executors.ray_pool import Actor, Pool
from lossearch.evaluators.tasks.packed_task import pack_task
from lossearch.evaluators.training.state import State
from lossearch.evaluators.work import Work, failures
from lossearch.primitives.errors import UserError

#: Most workers that may vanish with a piece of work before it is blamed.
MAX_VANISHED = 5

#: Most workers that may run out of memory with a candidate. Ray kills other workers, too, not only the greedy one.
MAX_OUT_OF_MEMORY = 4


@dataclass
class _Assignment:
    """Work that an actor does."""

    pending: PooledWork
    actor: Actor
    states: Any  #: reference of the states that the work will leave
    due: float = math.inf  #: deadline, which begins when everything it needs has reached the actor


class RayExecutor:
    """Evaluates work on a Ray cluster.

    ``address`` is None to start a cluster on this machine, and ``auto`` or ``host:port`` to join one. If Ray was
    initialised before, its cluster is used whatever the address.
    ``workers`` is the number of actors. None means one for each GPU or core that the cluster has at any time. If there
    are fewer, the others start when the cluster grows.
    ``deadline`` is the longest time for a candidate in seconds. A cohort has this time for each of its candidates.
    ``device`` is auto (GPUs if the cluster has some now), cpu or cuda.
    Raises ClusterUnreachable, and UserError for a device that is missing.
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
        gpus = living_nodes().gpus if device != "cpu" else 0
        if device == "cuda" and not gpus:
            self._shut_down()
            raise UserError(
                "Expected a GPU for device = 'cuda', got a Ray cluster without one. Start the search when a node with "
                "a GPU is there, or use 'auto' or 'cpu'."
            )
        self.largest_cohort = LARGEST_ON_A_GPU if gpus else LARGEST_ON_A_CORE
        self._deadline = deadline
        self.on_steps: Callable[[int], None] | None = None
        self._board = BoardReader()
        self._pool = Pool("GPU" if gpus else "CPU", workers, not self._sends_data, self._board.handle)
        self._queue: deque[PooledWork] = deque()
        self._running: dict[Any, _Assignment] = {}
        self._arriving: dict[Any, _Assignment] = {}  # by the reference that is ready when everything has arrived
        self._data: dict[Any, Any] = {}  # references of the data that was sent, by task

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
        while not any(work.done() for work in pending) and time.monotonic() < end:
            self.advance(min(0.2, max(0.0, end - time.monotonic())))

    def news(self) -> list[News]:
        return self._pool.news()

    def close(self) -> None:
        for assignment in self._running.values():
            ray.kill(assignment.actor.handle, no_restart=True)
        self._pool.close()
        self._board.close()
        self._queue.clear()
        self._running.clear()
        self._arriving.clear()
        self._data.clear()
        self._shut_down()

    def fetch(self, references: Sequence[Any]) -> Mapping[str, State]:
        try:
            return merge_states(ray.get(list(references)))
        except ray.exceptions.RayError:
            return {}

    def advance(self, timeout: float) -> None:
        """Take in finished work, enforce deadlines, follow the size of the cluster, and give work to idle actors."""
        references = [*self._pool.starting, *self._arriving, *self._running]
        if references:
            ray.wait(references, num_returns=1, timeout=timeout, fetch_local=False)
            finished, _ = ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
            for reference in finished:  # all of them, before deadlines are enforced
                self._take_in(reference)
        elif timeout:
            time.sleep(timeout)
        if self.on_steps is not None:
            self._board.look(self.on_steps)
        now = time.monotonic()
        for reference in [reference for reference, assignment in self._running.items() if now > assignment.due]:
            self._stop(self._running.pop(reference))
        self._pool.follow(len(self._running))
        while self._pool.idle and self._queue:
            self._assign(self._pool.idle.pop(), self._queue.popleft())

    def _take_in(self, reference: Any) -> None:
        if reference in self._pool.starting:
            self._pool.begin(reference, len(self._running))
        elif reference in self._arriving:  # arrived or lost; the evaluation will report a loss
            self._begin(self._arriving.pop(reference))
        elif reference in self._running:
            self._finish(self._running.pop(reference), reference)

    def _assign(self, actor: Actor, pending: PooledWork) -> None:
        label, sent = self._send_data(pending.work)
        arrival = actor.handle.receive.remote(sent, *pending.before) if self._sends_data else None
        call = actor.handle.evaluate.options(num_returns=2)
        reference, states = call.remote(pending.work, label, sent, *pending.before)
        self._running[reference] = assignment = _Assignment(pending, actor, states)
        if arrival is None:
            self._begin(assignment)
        else:
            self._arriving[arrival] = assignment

    def _begin(self, assignment: _Assignment) -> None:
        """Start the deadline of work that has reached its actor."""
        assignment.due = time.monotonic() + self._seconds_for(assignment.pending.work)

    def _send_data(self, work: Work) -> tuple[str, Any]:
        """Put the data of a task into the object store once. Return a label and the reference of the data."""
        if not self._sends_data:  # all processes of this machine map the same file
            return "", None
        test = work.measured == "test"
        key = work.task, work.data, test
        if key not in self._data:
            self._data[key] = ray.put(pack_task(work.get_task(), test))
        return f"test {test}", self._data[key]

    def _finish(self, assignment: _Assignment, reference: Any) -> None:
        pending, actor = assignment.pending, assignment.actor
        try:
            pending.finish(ray.get(reference), assignment.states)
            self._pool.idle.append(actor)
        except ray.exceptions.RayTaskError as error:
            self._pool.idle.append(actor)  # the actor is healthy: the work raised, or its states are lost
            # The reference of the states raises the same error a moment later. Ray would log it as unhandled.
            ray.wait([assignment.states], timeout=1.0)
            if pending.before:
                pending.before = []
                self._queue.appendleft(pending)
            else:
                pending.evaluations = failures(pending.work, last_line(error))
        except ray.exceptions.RayError as error:
            self._lose(actor)
            if is_node_loss(error) and pending.num_vanished < MAX_VANISHED:
                pending.num_vanished += 1
                pending.before = pending.before if pending.num_vanished == 1 else []  # they may be lost themselves
                pending.note("a worker vanished with its node: its work is done again")
                self._queue.appendleft(pending)
            else:
                self._retry(pending, error)

    def _lose(self, actor: Actor) -> None:
        """Replace an actor that is gone."""
        self._pool.lose(actor)
        self._pool.follow(len(self._running), at_once=True)

    def _stop(self, late: _Assignment) -> None:
        """Kill an actor that missed its deadline, and split its work. A single candidate has failed."""
        self._lose(late.actor)
        limit = self._seconds_for(late.pending.work)
        if len(late.pending.work.candidates) > 1:
            self._queue.extendleft(reversed(late.pending.split(f"was not done within {limit:.0f} s")))
        else:
            late.pending.evaluations = failures(late.pending.work, f"stopped: not done within {limit:.0f} s")

    def _retry(self, pending: PooledWork, error: Exception) -> None:
        """Do the work again on another actor, in two halves, until the candidate that killed it is alone.

        A single candidate that kills a second actor has failed. If memory ran out, another process may be the cause,
        and the candidate gets more attempts. It starts again from step 0, because its states may be lost.
        """
        pending.num_killed += 1
        pending.before = [states for states in pending.before if isinstance(states, dict)]  # read from files, not lost
        is_out_of_memory = isinstance(error, ray.exceptions.OutOfMemoryError)
        reason = "the memory of its machine ran out" if is_out_of_memory else last_line(error)
        if len(pending.work.candidates) > 1:
            self._queue.extendleft(reversed(pending.split(f"killed its worker, {reason}")))
        elif pending.num_killed < (MAX_OUT_OF_MEMORY if is_out_of_memory else 2):
            self._queue.appendleft(pending)
        else:
            times = "twice" if pending.num_killed == 2 else f"{pending.num_killed} times"
            pending.evaluations = failures(pending.work, f"killed its worker {times}: {reason}")

    def _seconds_for(self, work: Work) -> float:
        if self._deadline is not None:
            return self._deadline * len(work.candidates)
        if work.unhurried:
            return math.inf
        return max(60.0, 20.0 * work.seconds_expected())

    def _shut_down(self) -> None:
        if self._started_here:
            ray.shutdown()
