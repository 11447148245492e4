"""Progress of a study by the steps of its trainings, so that a bar moves before the first training ends.

Invariant: the number that the view shows never falls, and once nothing is in flight it is exactly what was done.
"""

from dataclasses import dataclass

from lossearch.evaluators.executors.executor import Executor
from lossearch.runs.views import View


@dataclass(frozen=True)
class _InFlight:
    """A stage that an executor has: the number of trainings that it counts as, and the steps of a whole training."""

    task: str
    trainings: float
    steps: int


class StepProgress:
    """Tells the view of trainings in flight, and of those that are done.

    Steps that an executor reports do not say to which training they belong. They count as shares of the trainings in
    flight, as many as there can be. A stage that ends is counted in their place.
    """

    def __init__(self, executor: Executor, view: View) -> None:
        self._executor, self._view = executor, view
        self._in_flight: dict[object, _InFlight] = {}  # by owner
        self._ahead = 0.0  # trainings in flight that the view shows as done, by their steps
        self._num_steps: int | None = None  # that the executor has reported so far; None before its first report

    def listen(self) -> None:
        """Take in the executor's reports from now on: it has one listener at a time."""
        self._num_steps, self._executor.on_steps = None, self._note_steps

    def begin(self, owner: object, task: str, trainings: float, steps: int) -> None:
        """Add a stage that is about to be trained. It counts as ``trainings`` of ``steps`` steps each."""
        self._in_flight[owner] = _InFlight(task, trainings, steps)

    def end(self, owner: object, done: float) -> None:
        """Count a stage that has ended as ``done`` trainings."""
        stage = self._in_flight.pop(owner)
        ahead = min(max(0.0, self._ahead - done), self._count_in_flight())
        self._view.advanced(max(0.0, done + ahead - self._ahead), stage.task)
        self._ahead = ahead

    def _note_steps(self, num_steps: int) -> None:
        """Take in the number of steps that all trainings of the executor have taken so far."""
        further = 0 if self._num_steps is None else num_steps - self._num_steps
        self._num_steps = num_steps
        if not self._in_flight or further <= 0:
            return
        stages = self._in_flight.values()
        total = self._count_in_flight()
        steps_of_one = sum(stage.trainings * stage.steps for stage in stages) / max(total, 1e-9)
        ahead = min(self._ahead + further / max(steps_of_one, 1.0), total)
        task = next(iter(stages)).task
        self._view.advanced(max(0.0, ahead - self._ahead), task)
        self._ahead = max(self._ahead, ahead)

    def _count_in_flight(self) -> float:
        return sum(stage.trainings for stage in self._in_flight.values())
