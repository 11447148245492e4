"""The board of a Ray cluster: an actor to which workers write the steps of their trainings while they train.

It only serves the progress that a person sees. If it is lost, nothing but that is lost.
"""

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

#: Seconds between two messages of a worker, and between two looks at the board.
INTERVAL = 1.0


class StepBoard:
    """The actor: the sum of the steps of all workers."""

    def __init__(self) -> None:
        self._steps = 0

    def add(self, steps: int) -> None:
        """Add steps that a worker's trainings have taken."""
        self._steps += steps

    def total(self) -> int:
        """Return the number of steps so far."""
        return self._steps


class BoardWriter:
    """Listener in a worker. Writes to the board from time to time, and never waits for it."""

    def __init__(self, board: Any) -> None:
        self._board, self._steps, self._written = board, 0, time.monotonic()

    def __call__(self, steps: int) -> None:
        self._steps += steps
        if time.monotonic() - self._written > INTERVAL:
            self._board.add.remote(self._steps)
            self._steps, self._written = 0, time.monotonic()


class BoardReader:
    """The board as the driver sees it. Starts the actor on the driver's node."""

    def __init__(self) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        actor = ray.remote(num_cpus=0, max_restarts=0)(StepBoard)
        self.handle: Any = actor.options(scheduling_strategy=here).remote()
        self._asked: Any = None  # reference of the number that was asked for
        self._looked_at = time.monotonic()

    def look(self, listener: Callable[[int], None]) -> None:
        """Call ``listener`` with the number of steps so far, if it has arrived, and ask for it again. Never waits."""
        if self.handle is None or time.monotonic() - self._looked_at < INTERVAL:
            return
        self._looked_at = time.monotonic()
        try:
            if self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
                listener(ray.get(self._asked))
                self._asked = None
            if self._asked is None:
                self._asked = self.handle.total.remote()
        except ray.exceptions.RayError:
            self.handle = None

    def close(self) -> None:
        """Stop the actor."""
        if self.handle is not None:
            ray.kill(self.handle, no_restart=True)
            self.handle = None
