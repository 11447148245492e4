"""Timing: where the time of a run goes, in the driver and in each of its workers."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lossearch.evaluators.work import Spent

#: Largest number of workers in a summary; the ones that sent results last are listed.
MAX_LISTED = 1_000


class Stopwatch:
    """Seconds by activity. Time in a nested activity counts for the inner one only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[tuple[str, float]] = []  # activities, and the time from which they count

    @contextmanager
    def doing(self, activity: str) -> Iterator[None]:
        """Count the time of a block for an activity."""
        now = time.monotonic()
        if self._open:
            outer, since = self._open[-1]
            self._add(outer, now - since)
        self._open.append((activity, now))
        try:
            yield
        finally:
            now = time.monotonic()
            inner, since = self._open.pop()
            self._add(inner, now - since)
            if self._open:
                self._open[-1] = (self._open[-1][0], now)

    def rounded(self) -> dict[str, float]:
        """Return the seconds, rounded to a hundredth."""
        return {activity: round(seconds, 2) for activity, seconds in self.seconds.items()}

    def _add(self, activity: str, seconds: float) -> None:
        self.seconds[activity] = self.seconds.get(activity, 0.0) + seconds


@dataclass
class _Worker:
    """The sums of one worker since its first result."""

    trainings: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    since: float = 0.0
    last: float = 0.0  #: time of its last result
    gone: float | None = None  #: time when it was lost


class Workforce:
    """The sums of all workers of a run, by name."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}

    def add(self, spent: Iterable[Spent]) -> None:
        """Count the trainings and seconds of a piece of work that has just come back."""
        now = time.monotonic()
        for share in spent:
            busy = sum(share.seconds.values())
            worker = self._workers.setdefault(share.worker, _Worker(since=now - busy))
            worker.trainings += share.trainings
            worker.last, worker.gone = now, None
            for activity, seconds in share.seconds.items():
                worker.seconds[activity] = worker.seconds.get(activity, 0.0) + seconds

    def mark_gone(self, name: str) -> None:
        """Note that a worker was lost: its idle time ends here."""
        if name in self._workers:
            self._workers[name].gone = time.monotonic()

    def summary(self) -> dict[str, dict[str, Any]]:
        """Sum up each worker: trainings, trainings per minute, seconds by activity; the rest of its time is idle."""
        by_last_result = sorted(self._workers.items(), key=lambda named: -named[1].last)
        now = time.monotonic()
        return {name: _sum_up(worker, now) for name, worker in sorted(by_last_result[:MAX_LISTED])}


def _sum_up(worker: _Worker, now: float) -> dict[str, Any]:
    present = max((now if worker.gone is None else worker.gone) - worker.since, 1e-9)
    idle = max(0.0, present - sum(worker.seconds.values()))
    return {
        "trainings": worker.trainings,
        "per_minute": round(60.0 * worker.trainings / present, 1),
        "seconds": {name: round(seconds, 2) for name, seconds in (worker.seconds | {"idle": idle}).items()},
    }


def in_words(seconds: float) -> str:
    """Return a duration as a person says it: "40 s", "12 min", "3.5 h", "2.1 days"."""
    if seconds < 90.0:
        return f"{max(seconds, 1.0):.0f} s"
    if seconds < 90 * 60.0:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600.0 else f"{seconds / 86400:.1f} days"
