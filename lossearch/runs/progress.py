"""Progress: the counts of a search so far."""

import time
from dataclasses import dataclass, field
from typing import Any

from lossearch.evaluators.work import Candidate
from lossearch.results.ranking.counts import CandidateCounts
from lossearch.results.records import BASELINE

#: The counts that a checkpoint, the log and callbacks get.
COUNTS = (
    "evaluated",
    "stopped",
    "failed",
    "rejected",
    "duplicates",
    "best_formula",
    "best_fitness",
    "baseline_fitness",
)


@dataclass
class Progress:
    """Counts of a search's candidates by what became of them, and the best one."""

    generations: int  #: of the whole search
    generation: int = 0  #: the current one, from 1
    evaluated: int = 0  #: trained to the end
    stopped: int = 0  #: at a rung
    failed: int = 0
    rejected: int = 0
    duplicates: int = 0
    best_formula: str = ""
    best_fitness: float | None = None
    baseline_fitness: float | None = None
    trained: float = 0.0  #: steps that were taken since this process started, in candidates trained to the end
    _started: float = field(default_factory=time.monotonic)
    _finished_before: int = 0  # when this process started

    @property
    def candidates(self) -> CandidateCounts:
        """Counts of the candidates, as a leaderboard of the same records gives them."""
        return CandidateCounts(self.evaluated, self.stopped, self.failed, self.rejected, self.duplicates)

    @property
    def finished(self) -> int:
        """Number of candidates that were trained to the end, to the rung where they stopped, or until they failed."""
        return self.candidates.trained

    @property
    def done(self) -> float:
        """Number of candidates that are done, with the shares of those that are being trained."""
        return max(self.finished, self._finished_before + self.trained)

    def seconds_left(self, total: int) -> float | None:
        """Estimate the seconds until ``total`` candidates are done; None before anything was trained."""
        done = self.done - self._finished_before
        if done <= 0.0:
            return None
        return (time.monotonic() - self._started) / done * max(0.0, total - self.done)

    @property
    def per_second(self) -> float:
        """Candidates trained per second since this process started."""
        return (self.finished - self._finished_before) / max(time.monotonic() - self._started, 1e-9)

    def count_training(self, candidate: Candidate, fitness: float | None) -> None:
        """Count a candidate that was trained to the end; ``fitness`` is None if it failed."""
        if fitness is None:
            self.failed += 1
            return
        self.evaluated += 1
        if candidate.name == BASELINE:
            self.baseline_fitness = fitness
        if self.best_fitness is None or fitness > self.best_fitness:
            self.best_fitness, self.best_formula = fitness, candidate.formula

    def count_failed_retests(self, count: int) -> None:
        """Count candidates as failed that were evaluated before, since a training under one more seed failed."""
        self.evaluated -= count
        self.failed += count

    def count_refusal(self, status: str) -> None:
        """Count a candidate that was not trained, by its status: rejected or duplicate."""
        if status == "duplicate":
            self.duplicates += 1
        else:
            self.rejected += 1

    def counts(self) -> dict[str, Any]:
        """Return the counts as plain JSON data."""
        return {name: getattr(self, name) for name in COUNTS}

    def restore(self, counts: dict[str, Any]) -> None:
        """Continue from saved counts."""
        for name in COUNTS:
            setattr(self, name, counts.get(name, 0) if name == "stopped" else counts[name])  # old runs had no rungs
        self._finished_before = self.finished
