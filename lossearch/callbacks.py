"""Callbacks: what a search tells others while it goes on, such as a tracker of experiments.

Invariant: a callback that fails is left out from there on, with a warning; it never stops a search.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import Evaluation
from lossearch.results.storage.fresh_seed_test import FreshSeedTest
from lossearch.runs.progress import Progress


@dataclass(frozen=True)
class SearchStart:
    """What a search begins, or goes on, with."""

    path: Path  #: the run's directory
    experiment: Mapping[str, Any]  #: as resolved, with all defaults, as plain data


@dataclass(frozen=True)
class GenerationEnd:
    """How a search stands after a generation; counts are of losses since it began."""

    number: int  #: of the generation, from 1
    generations: int  #: of the whole search
    evaluated: int
    stopped: int
    failed: int
    rejected: int
    duplicates: int
    best_formula: str
    best_fitness: float | None
    baseline_fitness: float | None  #: of cross-entropy


class Callback:
    """Hears of a search. Override what you want to hear of; it is called by the driver, in turn with its work."""

    def on_start(self, start: SearchStart) -> None:
        """The search begins, or goes on where it was stopped."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """A training was recorded, or a candidate that was refused, with the reason."""

    def on_generation(self, generation: GenerationEnd) -> None:
        """A generation has ended; in a steady search, as many births as a generation has."""

    def on_end(self, run: "Run") -> None:
        """The search has ended; not called where it was interrupted."""


class Callbacks:
    """Some callbacks, told together."""

    def __init__(self, callbacks: Sequence[Callback] = (), warn: Callable[[str], None] = lambda message: None) -> None:
        self._left, self._warn = list(callbacks), warn

    def started(self, path: Path, experiment: Mapping[str, Any]) -> None:
        """Tell that the search begins."""
        self._tell("on_start", SearchStart(path, experiment))

    def evaluated(self, evaluations: Iterable[Evaluation]) -> None:
        """Tell of recorded evaluations."""
        for evaluation in evaluations if self._left else ():
            self._tell("on_evaluation", evaluation)

    def generation_ended(self, number: int, progress: Progress) -> None:
        """Tell how the search stands after a generation."""
        if self._left:
            self._tell("on_generation", GenerationEnd(number, progress.generations, **progress.counts()))

    def ended(self, run: "Run") -> None:
        """Tell that the search has ended."""
        self._tell("on_end", run)

    def _tell(self, what: str, told: Any) -> None:
        for callback in list(self._left):
            try:
                getattr(callback, what)(told)
            except Exception as error:  # whatever a stranger's code raises
                self._left.remove(callback)
                called = type(callback).__name__
                self._warn(f"The callback {called} failed in {what} and is left out from here on: {error!r}")


@dataclass(frozen=True)
class Run:
    """A finished search: its directory, its leaderboard, and its best loss's file and trial.

    ``exported`` and ``trial`` are None where no candidate was evaluated.
    """

    path: Path
    leaderboard: Leaderboard
    exported: Path | None
    trial: FreshSeedTest | None
