"""Callbacks: hooks that a search calls while it runs, such as a tracker of experiments.

Invariant: a callback that fails is dropped with a warning; it never stops a search.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossearch.primitives.errors import Argument, WrongType, describe
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import Evaluation
from lossearch.results.storage.fresh_seed_test import FreshSeedTest
from lossearch.runs.progress import Progress


@dataclass(frozen=True)
class SearchStart:
    """The run that a search starts or resumes."""

    path: Path  #: the run's directory
    experiment: Mapping[str, Any]  #: the resolved experiment with all defaults, as plain data


@dataclass(frozen=True)
class GenerationEnd:
    """The state of a search after a generation. Counts are of candidates since the search began."""

    number: int  #: number of the generation, from 1
    generations: int  #: number of generations of the whole search
    evaluated: int
    stopped: int
    failed: int
    rejected: int
    duplicates: int
    best_formula: str
    best_fitness: float | None
    baseline_fitness: float | None  #: fitness of cross-entropy


class Callback:
    """Follows a search. Override the events of interest. The driver calls them between its own work."""

    def on_start(self, start: SearchStart) -> None:
        """Handle the start of a search, or its resumption."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Handle the record of a training, or of a refused candidate with the reason."""

    def on_generation(self, generation: GenerationEnd) -> None:
        """Handle the end of a generation. In a steady search it ends after ``population`` results."""

    def on_end(self, run: "Run") -> None:
        """Handle the end of the search. An interrupted search does not call this."""


#: Methods of a callback.
_EVENTS = ("on_start", "on_evaluation", "on_generation", "on_end")


def require_callbacks(callbacks: Any) -> list[Callback]:
    """Return the callbacks of a call. Raises WrongType for anything but a list of objects with all events."""
    hint = "Derive a class from lossearch.Callback, and give objects of it in a list: [MyCallback()]."
    if not isinstance(callbacks, list | tuple):
        raise WrongType("Expected ", Argument("callbacks"), f" to be a list, got {describe(callbacks)}. {hint}")
    for callback in callbacks:
        is_one = not isinstance(callback, type) and all(callable(getattr(callback, name, None)) for name in _EVENTS)
        if not is_one:
            raise WrongType("Expected ", Argument("callbacks"), f" to hold callbacks, got {describe(callback)}. {hint}")
    return list(callbacks)


class Callbacks:
    """Calls several callbacks, and drops those that fail."""

    def __init__(self, callbacks: Sequence[Callback] = (), warn: Callable[[str], None] = lambda message: None) -> None:
        self._callbacks, self._warn = list(callbacks), warn

    def started(self, path: Path, experiment: Mapping[str, Any]) -> None:
        """Report that the search starts."""
        self._report("on_start", SearchStart(path, experiment))

    def evaluated(self, evaluations: Iterable[Evaluation]) -> None:
        """Report recorded evaluations."""
        for evaluation in evaluations if self._callbacks else ():
            self._report("on_evaluation", evaluation)

    def generation_ended(self, number: int, progress: Progress) -> None:
        """Report the state of the search after a generation."""
        if self._callbacks:
            self._report("on_generation", GenerationEnd(number, progress.generations, **progress.counts()))

    def ended(self, run: "Run") -> None:
        """Report that the search has ended."""
        self._report("on_end", run)

    def _report(self, event: str, value: Any) -> None:
        for callback in list(self._callbacks):
            try:
                getattr(callback, event)(value)
            except Exception as error:  # the callback is foreign code and may raise anything
                self._callbacks.remove(callback)
                name = type(callback).__name__
                self._warn(f"The callback {name} failed in {event} and is left out from here on: {error!r}")


@dataclass(frozen=True)
class Run:
    """A finished search. ``exported`` and ``trial`` are None if no candidate was evaluated."""

    path: Path  #: the run's directory
    leaderboard: Leaderboard
    exported: Path | None  #: file of the best loss
    trial: FreshSeedTest | None  #: its test under fresh seeds
    warnings: tuple[str, ...] = ()  #: signs that nothing trains, or that the scores say nothing

    def __fspath__(self) -> str:
        """Return the run's directory: a run may stand where its path is expected."""
        return str(self.path)
