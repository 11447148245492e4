"""A piece of work on its way through a pool of workers: whole, or split in two, until it is finished."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lossearch.evaluators.training.state import State
from lossearch.evaluators.work import Result, Spent, Work, spent_on
from lossearch.results.records import Evaluation, Measurement


class WorkSource(Protocol):
    """The executor that a piece of work waits for."""

    def advance(self, timeout: float) -> None:
        """Take in finished work, for at most ``timeout`` seconds, and give work to idle workers."""

    def fetch(self, references: Sequence[Any]) -> Mapping[str, State]:
        """Fetch the states behind references. Return none if one is lost."""


class PooledWork:
    """Work that waits for a worker, runs on one, was split in two, or is finished."""

    def __init__(self, work: Work, source: WorkSource, before: Sequence[Any] = ()) -> None:
        self.work = work
        self.before = list(before)  #: references of the states that it continues from
        self.evaluations: list[Evaluation] | None = None
        self.halves: tuple[PooledWork, PooledWork] | None = None
        self.num_killed = 0  #: workers that died of it
        self.num_vanished = 0  #: workers that vanished with it
        self._source = source
        self._after: list[Any] = []  # references of the states that it left
        self._notes: list[str] = []
        self._measurements: list[Measurement] = []
        self._spent: list[Spent] = []

    def done(self) -> bool:
        return self.known_evaluations() is not None

    def result(self) -> list[Evaluation]:
        while (evaluations := self.known_evaluations()) is None:
            self._source.advance(1.0)
        return evaluations

    def notes(self) -> list[str]:
        return [*self._notes, *(note for half in self.halves or () for note in half.notes())]

    def spent(self) -> list[Spent]:
        return [*self._spent, *(spent for half in self.halves or () for spent in half.spent())]

    def measurements(self) -> list[Measurement]:
        return [*self._measurements, *(record for half in self.halves or () for record in half.measurements())]

    def states(self) -> list[Any]:
        return [*self._after, *(reference for half in self.halves or () for reference in half.states())]

    def fetched(self) -> Mapping[str, State]:
        return self._source.fetch(self.states())

    def known_evaluations(self) -> list[Evaluation] | None:
        """Return the evaluations; None until all of them are there."""
        if self.halves is not None and self.evaluations is None:
            first, second = (half.known_evaluations() for half in self.halves)
            self.evaluations = None if first is None or second is None else first + second
        return self.evaluations

    def finish(self, result: Result, states: Any) -> None:
        """Take in the result of a worker, and the reference of the states that it left."""
        self.evaluations, self._measurements, self._after = result.evaluations, result.measurements, [states]
        self._notes += result.notes
        self._spent = spent_on(result)

    def note(self, text: str) -> None:
        """Add a note for the log."""
        self._notes.append(text)

    def split(self, reason: str) -> "tuple[PooledWork, PooledWork]":
        """Split the work in two, each with half of the candidates. Their results make up the result of this one."""
        self.note(f"a cohort of {len(self.work.candidates)} {reason}: split")
        first, second = self.work.halves()
        self.halves = PooledWork(first, self._source, self.before), PooledWork(second, self._source, self.before)
        return self.halves
