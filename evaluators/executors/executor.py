"""The Executor protocol, by which a search hands out work, and the executor that works in this process."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lossearch.evaluators.device import choose_device
from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.training.state import State
from lossearch.evaluators.work import Result, Spent, Work, spent_on
from lossearch.results.records import Evaluation, Measurement

#: Candidates in a cohort at most, where the size is found automatically: on a core nothing is gained beyond the first,
#: on a GPU the memory decides.
LARGEST_ON_A_CORE, LARGEST_ON_A_GPU = 64, 1_024


class Pending(Protocol):
    """Work that was handed out."""

    work: Work

    def done(self) -> bool:
        """Whether the result is there."""

    def result(self) -> list[Evaluation]:
        """The evaluations of the work, waiting for them; never an exception for what a candidate did."""

    def notes(self) -> list[str]:
        """What the log should tell of finished work."""

    def spent(self) -> list[Spent]:
        """Which workers did finished work, and what took them how long."""

    def measurements(self) -> list[Measurement]:
        """What was measured, of finished work that asks for it."""

    def states(self) -> list[Any]:
        """Where the candidates of finished work stand: handles for ``submit`` alone, to go on from there.

        What they stand for may be lost, and is then trained again from the start.
        """

    def fetched(self) -> Mapping[str, State]:
        """The states of finished work themselves, by the key of the candidate; those that are lost are not there."""


@dataclass(frozen=True)
class News:
    """Something that happened to the workers."""

    text: str
    is_warning: bool = False
    gone: str | None = None  #: the name of a worker that there is no more


class Executor(Protocol):
    """Evaluates work somewhere. Results may come in any order; what they say depends on the work alone."""

    #: Candidates in a cohort at most, where its size is found automatically.
    largest_cohort: int

    @property
    def slots(self) -> int:
        """How many pieces of work run at once; workers may come and go."""

    def submit(self, work: Work, states: Iterable[Any] = ()) -> Pending:
        """Hand out a piece of work, which goes on from the states that hold its candidates."""

    def wait(self, pending: Sequence[Pending], timeout: float) -> None:
        """Return when one of these is done, or after so many seconds."""

    def news(self) -> list[News]:
        """What happened to the workers since this was last asked."""

    def close(self) -> None:
        """Free what the executor holds; work in flight is dropped."""


class FinishedWork:
    """Work whose result is known."""

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
    """Evaluates in this process, at once. ``device`` is auto, cpu or cuda. Raises UserError for a GPU that is none."""

    slots = 1

    def __init__(self, device: str = "auto") -> None:
        self.largest_cohort = LARGEST_ON_A_GPU if choose_device(device).type == "cuda" else LARGEST_ON_A_CORE

    def submit(self, work: Work, states: Iterable[Mapping[str, State]] = ()) -> FinishedWork:
        return FinishedWork(work, evaluate(work, merged(states)))

    def wait(self, pending: Sequence[Pending], timeout: float) -> None:
        """Nothing to wait for: submitted work is done."""

    def news(self) -> list[News]:
        """Nothing happens here."""
        return []

    def close(self) -> None:
        """Nothing to free."""


def merged(states: Iterable[Mapping[str, State]]) -> dict[str, State]:
    """States of several pieces of work as one mapping."""
    return {key: state for each in states for key, state in each.items()}
