"""Progress: what a search has done so far, and the protocol of a view that shows it."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

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


class SearchView(Protocol):
    """Shows a search to a person while it runs."""

    def started(self, run: Path, slots: int) -> None:
        """Candidates are about to be trained, so many at once, and kept in this run's directory."""

    def moved(self, progress: Progress) -> None:
        """A candidate was trained or refused."""

    def generation_ended(self, progress: Progress) -> None:
        """A generation is through."""

    def warned(self, message: str) -> None:
        """Something is wrong that the search copes with."""


class SilentView:
    """Shows nothing."""

    def started(self, run: Path, slots: int) -> None: ...

    def moved(self, progress: Progress) -> None: ...

    def generation_ended(self, progress: Progress) -> None: ...

    def warned(self, message: str) -> None: ...
