"""Progress: what a search has done so far, and the protocol of a view that shows it."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lossearch.evaluators.work import Spent
from lossearch.results.records import BASELINE

if TYPE_CHECKING:
    from lossearch.evaluators.work import Candidate


@dataclass
class Progress:
    """Counts of a search."""

    generations: int
    generation: int = 0
    evaluated: int = 0
    stopped: int = 0
    failed: int = 0
    rejected: int = 0
    duplicates: int = 0
    best_formula: str = ""
    best_fitness: float | None = None
    baseline_fitness: float | None = None
    _started: float = field(default_factory=time.monotonic)
    _before: int = 0  # evaluated before this process started

    @property
    def finished(self) -> int:
        """Candidates that were trained, to the end, to a rung where they stopped, or to a failure."""
        return self.evaluated + self.stopped + self.failed

    @property
    def per_second(self) -> float:
        """Candidates trained in a second, since this process started."""
        return (self.finished - self._before) / max(time.monotonic() - self._started, 1e-9)

    def trained(self, candidate: "Candidate", fitness: float | None) -> None:
        """Count a candidate that was trained; None for one that failed."""
        if fitness is None:
            self.failed += 1
            return
        self.evaluated += 1
        if candidate.name == BASELINE:
            self.baseline_fitness = fitness
        if self.best_fitness is None or fitness > self.best_fitness:
            self.best_fitness, self.best_formula = fitness, candidate.formula

    def refused(self, status: str) -> None:
        """Count a candidate that was not trained."""
        if status == "duplicate":
            self.duplicates += 1
        else:
            self.rejected += 1

    def counts(self) -> dict[str, Any]:
        """The counts as plain data."""
        names = (
            "evaluated",
            "stopped",
            "failed",
            "rejected",
            "duplicates",
            "best_formula",
            "best_fitness",
            "baseline_fitness",
        )
        return {name: getattr(self, name) for name in names}

    def state(self) -> dict[str, Any]:
        """What a restart needs."""
        return self.counts()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting from a saved state."""
        for name in self.counts():
            setattr(self, name, state.get(name, 0) if name == "stopped" else state[name])  # older ones had no rungs
        self._before = self.finished


# --- Stopwatch: where the time of a run goes, by what was done.


class Stopwatch:
    """Seconds by the name of what was done; what is done within something else counts there alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[tuple[str, float]] = []  # names, and since when they count

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Count the time of a block."""
        now = time.monotonic()
        if self._open:
            outer, since = self._open[-1]
            self._add(outer, now - since)
        self._open.append((what, now))
        try:
            yield
        finally:
            now = time.monotonic()
            name, since = self._open.pop()
            self._add(name, now - since)
            if self._open:
                self._open[-1] = (self._open[-1][0], now)

    def _add(self, what: str, seconds: float) -> None:
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds

    def rounded(self) -> dict[str, float]:
        """The seconds, to a hundredth."""
        return {name: round(seconds, 2) for name, seconds in self.seconds.items()}


# --- Workforce: what each worker of a run has done, and what took it how long.

#: Workers that are listed at most: those that did something last.
LISTED = 1_000


@dataclass
class _Worker:
    """One worker's sums, since it was first heard of."""

    trainings: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    since: float = 0.0
    last: float = 0.0  #: when something of it came back
    left: float | None = None  #: when it was gone


class Workforce:
    """Sums over what workers did, by their names."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}

    def add(self, spent: Iterable[Spent]) -> None:
        """Count what was done for a piece of work that has just come back."""
        now = time.monotonic()
        for each in spent:
            busy = sum(each.seconds.values())
            worker = self._workers.setdefault(each.worker, _Worker(since=now - busy))
            worker.trainings += each.trainings
            worker.last, worker.left = now, None
            for what, seconds in each.seconds.items():
                worker.seconds[what] = worker.seconds.get(what, 0.0) + seconds

    def left(self, name: str) -> None:
        """A worker is gone: from now on it is not idle either."""
        if name in self._workers:
            self._workers[name].left = time.monotonic()

    def summary(self) -> dict[str, dict[str, Any]]:
        """Each worker's trainings, trainings a minute, and seconds by what it did; it was idle for the rest."""
        lately, now = sorted(self._workers.items(), key=lambda each: -each[1].last)[:LISTED], time.monotonic()
        return {name: _summary(worker, now) for name, worker in sorted(lately)}


def _summary(worker: _Worker, now: float) -> dict[str, Any]:
    there = max((now if worker.left is None else worker.left) - worker.since, 1e-9)
    idle = max(0.0, there - sum(worker.seconds.values()))
    return {
        "trainings": worker.trainings,
        "per_minute": round(60.0 * worker.trainings / there, 1),
        "seconds": {name: round(each, 2) for name, each in (worker.seconds | {"idle": idle}).items()},
    }
