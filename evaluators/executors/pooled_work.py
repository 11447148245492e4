"""Pooled work: a piece of work on its way through a pool of workers, whole or split in two until it is finished."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lossearch.evaluators.training.state import State
from lossearch.evaluators.work import Result, Spent, Work, spent_on
from lossearch.results.records import Evaluation, Measurement


class WorkSource(Protocol):
    """Where the work is done."""

    def advance(self, timeout: float) -> None:
        """Take in what has finished, for so many seconds at most, and give idle workers work."""

    def fetch(self, references: Sequence[Any]) -> Mapping[str, State]:
        """The states that references stand for; none where they are lost."""


class PooledWork:
    """Work that waits for a worker, runs on one, was split in two, or is finished."""

    def __init__(self, work: Work, pool: WorkSource, before: Sequence[Any] = ()) -> None:
        self.work = work
        self.before = list(before)  #: references to states that it goes on from
        self.after: list[Any] = []  #: references to the states that it left
        self.said: list[str] = []
        self.measured: list[Measurement] = []
        self.attempts = 0  #: workers that died of it
        self.vanished = 0  #: workers that vanished with it
        self.evaluations: list[Evaluation] | None = None
        self.halves: tuple[PooledWork, PooledWork] | None = None
        self._spent: list[Spent] = []
        self._pool = pool

    def done(self) -> bool:
        return self.found() is not None

    def result(self) -> list[Evaluation]:
        while (evaluations := self.found()) is None:
            self._pool.advance(1.0)
        return evaluations

    def notes(self) -> list[str]:
        of_halves = [note for half in self.halves or () for note in half.notes()]
        return [*self.said, *of_halves]

    def spent(self) -> list[Spent]:
        return [*self._spent, *(each for half in self.halves or () for each in half.spent())]

    def measurements(self) -> list[Measurement]:
        return [*self.measured, *(each for half in self.halves or () for each in half.measurements())]

    def states(self) -> list[Any]:
        return [*self.after, *(reference for half in self.halves or () for reference in half.states())]

    def fetched(self) -> Mapping[str, State]:
        return self._pool.fetch(self.states())

    def found(self) -> list[Evaluation] | None:
        """The evaluations, once they are all there."""
        if self.halves is not None and self.evaluations is None:
            first, second = (half.found() for half in self.halves)
            self.evaluations = None if first is None or second is None else first + second
        return self.evaluations

    def finish(self, result: Result, states: Any) -> None:
        """Take in what a worker gave back, and the reference of the states that it left."""
        self.evaluations, self.measured, self.after = result.evaluations, result.measurements, [states]
        self.said += result.notes
        self._spent = spent_on(result)

    def split(self, why: str) -> "tuple[PooledWork, PooledWork]":
        """Two pieces of work, each with half of the candidates, whose results make up this one's."""
        self.said.append(f"a cohort of {len(self.work.candidates)} {why}: split")
        first, second = self.work.halves()
        self.halves = PooledWork(first, self._pool, self.before), PooledWork(second, self._pool, self.before)
        return self.halves
