"""Workforce: what each worker of a run has done, and what took it how long."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from evaluators.work import Spent

#: Workers that a log line lists at most: those that did something last.
LISTED = 1_000


@dataclass
class _Worker:
    """One worker's sums, since it was first heard of."""

    trainings: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    since: float = 0.0
    last: float = 0.0


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
            worker.last = now
            for what, seconds in each.seconds.items():
                worker.seconds[what] = worker.seconds.get(what, 0.0) + seconds

    def summary(self) -> dict[str, dict[str, Any]]:
        """Each worker's trainings, trainings a minute, and seconds by what it did; it was idle for the rest."""
        lately = sorted(self._workers.items(), key=lambda each: -each[1].last)[:LISTED]
        return {name: _summary(worker) for name, worker in sorted(lately)}


def _summary(worker: _Worker) -> dict[str, Any]:
    there = max(worker.last - worker.since, 1e-9)
    idle = max(0.0, there - sum(worker.seconds.values()))
    return {
        "trainings": worker.trainings,
        "per_minute": round(60.0 * worker.trainings / there, 1),
        "seconds": {name: round(each, 2) for name, each in (worker.seconds | {"idle": idle}).items()},
    }
