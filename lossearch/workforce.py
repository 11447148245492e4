"""Workforce: what each worker of a run has done, and what took it how long."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lossearch.evaluators.work import Spent

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
