"""The Executor protocol, by which a search hands out work, and the executor that works in this process."""

from collections.abc import Sequence
from typing import Protocol

from evaluators.evaluation import Work, evaluate
from results.records import Evaluation


class Pending(Protocol):
    """Work that was handed out."""

    work: Work

    def done(self) -> bool:
        """Whether the result is there."""

    def result(self) -> list[Evaluation]:
        """The evaluations of the work, waiting for them; never an exception for what a candidate did."""


class Executor(Protocol):
    """Evaluates work somewhere. Results may come in any order; what they say depends on the work alone."""

    #: How many pieces of work run at once.
    slots: int

    def submit(self, work: Work) -> Pending:
        """Hand out a piece of work."""

    def wait(self, pending: Sequence[Pending], timeout: float) -> None:
        """Return when one of these is done, or after so many seconds."""

    def close(self) -> None:
        """Free what the executor holds; work in flight is dropped."""


class FinishedWork:
    """Work whose evaluations are known."""

    def __init__(self, work: Work, evaluations: list[Evaluation]) -> None:
        self.work = work
        self._evaluations = evaluations

    def done(self) -> bool:
        return True

    def result(self) -> list[Evaluation]:
        return self._evaluations


class InlineExecutor:
    """Evaluates in this process, at once."""

    slots = 1

    def submit(self, work: Work) -> FinishedWork:
        return FinishedWork(work, evaluate(work))

    def wait(self, pending: Sequence[Pending], timeout: float) -> None:
        """Nothing to wait for: submitted work is done."""

    def close(self) -> None:
        """Nothing to free."""
