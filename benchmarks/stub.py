"""A stub executor: made-up fitness, after a time that passes on a clock of its own.

The driver's own work takes real time; while the driver waits, the clock jumps to the next result. A driver can
so be measured with thousands of workers that do not exist.
"""

import heapq
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lossearch.evaluators.executors.executor import News, Pending
from lossearch.evaluators.training.state import State
from lossearch.evaluators.work import Result, Spent, Work, record
from lossearch.results.records import Evaluation, Measurement


class StubWork:
    """Work whose result arrives at a set time."""

    def __init__(self, work: Work, executor: "StubExecutor", due: float) -> None:
        self.work = work
        self._executor, self._due = executor, due

    def done(self) -> bool:
        return self._due <= self._executor.now

    def result(self) -> list[Evaluation]:
        return evaluations(self.work).evaluations

    def notes(self) -> list[str]:
        return []

    def spent(self) -> list[Spent]:
        return []

    def measurements(self) -> list[Measurement]:
        return []

    def states(self) -> list[Any]:
        return []

    def fetched(self) -> dict[str, State]:
        return {}


class StubExecutor:
    """A number of workers, each of which takes ``seconds`` for a candidate, give or take half."""

    on_steps: Callable[[int], None] | None = None

    def __init__(self, slots: int, seconds: float, largest_cohort: int = 64) -> None:
        self.slots, self.largest_cohort = slots, largest_cohort
        self.now = 0.0  #: seconds since the start, including waiting
        self.busy = 0.0  #: total of all workers
        self._seconds = seconds
        self._looked = time.perf_counter()
        self._free = [0.0] * slots  # time at which each worker becomes free
        self._due: list[float] = []
        self._random = random.Random(0)

    def submit(self, work: Work, states: Iterable[Any] = ()) -> StubWork:
        self._pass()
        takes = self._seconds * len(work.candidates) * self._random.uniform(0.5, 1.5)
        due = max(self.now, heapq.heappop(self._free)) + takes
        heapq.heappush(self._free, due)
        heapq.heappush(self._due, due)
        self.busy += takes
        return StubWork(work, self, due)

    def wait(self, pending: Sequence[Pending], timeout: float) -> None:
        self._pass()
        while self._due and self._due[0] <= self.now:
            heapq.heappop(self._due)
        if self._due and not any(job.done() for job in pending):
            self.now = heapq.heappop(self._due)

    def _pass(self) -> None:
        """Let the time pass that the driver took since it was last here."""
        before, self._looked = self._looked, time.perf_counter()
        self.now += self._looked - before

    def news(self) -> list[News]:
        return []

    def close(self) -> None: ...


def evaluations(work: Work) -> Result:
    """Make finished trainings whose fitness depends on the formula: simpler formulas and those for logits do better."""
    records = []
    for candidate in work.candidates:
        luck = int(candidate.loss_id[:6], 16) / 16**6
        fitness = 0.5 * luck + 0.3 * ("ce(" in candidate.formula) + 0.2 / candidate.complexity
        for seed in work.seeds:
            records.append(
                record(
                    candidate,
                    work,
                    seed=seed,
                    status="evaluated",
                    fitness=fitness,
                    calibration=1.0,
                    seconds=0.1,
                    finished_at="2026-01-01T00:00:00.000+00:00",
                )
            )
    return Result(records)
