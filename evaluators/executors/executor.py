"""The Executor protocol, by which a search hands out work, and the executor that works in this process.

The contract, which ``tests/evaluators/executors/test_executor.py`` checks for every executor:

- ``submit`` hands out a piece of work and returns at once, or when the work is done. It never raises an error that a
  candidate causes: a failed candidate is an evaluation with a reason.
- Results may arrive in any order. Their content depends only on the work and on the states it continues from, never on
  the executor, the worker or the order.
- ``wait`` returns as soon as one of the pieces is done, or after the timeout. Only ``wait`` and ``result`` block.
- ``states`` of finished work are opaque handles, to be passed to ``submit`` of the same executor. A state may be lost
  with its worker. The training then starts again from step 0, and its result is the same. ``fetched`` returns the
  states themselves, without those that are lost.
- Workers come and go: ``slots`` may change, and ``news`` reports each event once.
- ``close`` drops work in flight and frees everything. Nothing may be called after it.
- If no worker can be had at all, ``submit``, ``wait`` and ``result`` raise ClusterUnreachable.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lossearch.evaluators.device import choose_device
from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.training.state import State
from lossearch.evaluators.training.steps import reporting_steps_to
from lossearch.evaluators.work import Result, Spent, Work, spent_on
from lossearch.results.records import Evaluation, Measurement

#: Most candidates in a cohort of automatic size. A core gains nothing from more; on a GPU the memory sets the limit.
LARGEST_ON_A_CORE, LARGEST_ON_A_GPU = 64, 1_024


class Pending(Protocol):
    """A piece of work that was handed out."""

    work: Work

    def done(self) -> bool:
        """Return True if the result is there."""

    def result(self) -> list[Evaluation]:
        """Wait for the evaluations of the work."""

    def notes(self) -> list[str]:
        """Return notes on finished work, for the log."""

    def spent(self) -> list[Spent]:
        """Return the workers of finished work, and the time they spent on it."""

    def measurements(self) -> list[Measurement]:
        """Return the measurements of finished work; none unless the work asks for them."""

    def states(self) -> list[Any]:
        """Return handles of the states of finished work, for ``submit`` of the same executor."""

    def fetched(self) -> Mapping[str, State]:
        """Return the states of finished work, by the key of the candidate."""


@dataclass(frozen=True)
class News:
    """An event among the workers."""

    text: str
    is_warning: bool = False
    gone: str | None = None  #: name of a worker that no longer exists


class Executor(Protocol):
    """Evaluates work somewhere."""

    #: Most candidates in a cohort of automatic size.
    largest_cohort: int

    #: Called from time to time with the number of steps that all trainings together have taken so far.
    on_steps: Callable[[int], None] | None

    @property
    def slots(self) -> int:
        """Number of pieces of work that run at once."""

    def submit(self, work: Work, states: Iterable[Any] = ()) -> Pending:
        """Hand out a piece of work. Candidates with a state among ``states`` continue from it."""

    def wait(self, pending: Sequence[Pending], timeout: float) -> None:
        """Wait until one piece of work is done, for at most ``timeout`` seconds."""

    def news(self) -> list[News]:
        """Return the events among the workers since the last call."""

    def close(self) -> None:
        """Drop work in flight and free everything."""


class FinishedWork:
    """Work with a known result."""

    def __init__(self, work: Work, result: Result) -> None:
        self.work = work
        self._result = result

    def done(self) -> bool:
        return True

    def result(self) -> list[Evaluation]:
        return self._result.evaluations

    def notes(self) -> list[str]:
        return self._result.notes

    def spent(self) -> list[Spent]:
        return spent_on(self._result)

    def measurements(self) -> list[Measurement]:
        return self._result.measurements

    def states(self) -> list[Mapping[str, State]]:
        return [self._result.states]

    def fetched(self) -> Mapping[str, State]:
        return self._result.states


class InlineExecutor:
    """Evaluates work in this process, within ``submit``.

    ``device`` is auto, cpu or cuda. Raises UserError if there is no such device.
    """

    slots = 1
    on_steps: Callable[[int], None] | None = None
    _steps = 0

    def __init__(self, device: str = "auto") -> None:
        self.largest_cohort = LARGEST_ON_A_GPU if choose_device(device).type == "cuda" else LARGEST_ON_A_CORE

    def submit(self, work: Work, states: Iterable[Mapping[str, State]] = ()) -> FinishedWork:
        with reporting_steps_to(self._count_steps):
            return FinishedWork(work, evaluate(work, merge_states(states)))

    def _count_steps(self, steps: int) -> None:
        self._steps += steps
        if self.on_steps is not None:
            self.on_steps(self._steps)

    def wait(self, pending: Sequence[Pending], timeout: float) -> None:
        """Return at once: submitted work is done."""

    def news(self) -> list[News]:
        return []

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def merge_states(states: Iterable[Mapping[str, State]]) -> dict[str, State]:
    """Merge the states of several pieces of work into one mapping."""
    return {key: state for mapping in states for key, state in mapping.items()}
