"""Tracker: what all trackers send of a search, and when."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossearch.callbacks import Callback, GenerationEnd, SearchStart
from lossearch.primitives.errors import UserError

if TYPE_CHECKING:
    from lossearch.callbacks import Run

#: What is counted in a generation's end.
_COUNTS = ("evaluated", "stopped", "failed", "rejected", "duplicates")


class Tracker(Callback, ABC):
    """Sends parameters at the start, numbers after each generation, and the files of the results at the end."""

    def on_start(self, start: SearchStart) -> None:
        """Open what is sent to, and send the experiment's settings."""
        self.open(start.path, dict(flat(start.experiment)))

    def on_generation(self, generation: GenerationEnd) -> None:
        """Send how the search stands."""
        best, baseline = generation.best_fitness, generation.baseline_fitness
        numbers: dict[str, float | None] = {name: getattr(generation, name) for name in _COUNTS}
        numbers |= {"best_fitness": best, "cross_entropy_fitness": baseline}
        if best is not None and baseline is not None:
            numbers["difference_to_cross_entropy"] = best - baseline
        given = {name: float(value) for name, value in numbers.items() if value is not None}
        self.numbers(given, generation.number)
        self.text("best_formula", generation.best_formula, generation.number)

    def on_end(self, run: "Run") -> None:
        """Send the trial of the best loss, its formula, the leaderboard and the best loss's file."""
        facts = {} if run.trial is None else run.trial.facts()
        self.numbers({f"trial_{name}": float(value) for name, value in facts.items() if value is not None}, None)
        found = [run.path / name for name in ("experiment.toml", "leaderboard.parquet", "best_loss.py")]
        self.files([each for each in found if each.exists()])
        self.close()

    @abstractmethod
    def open(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Begin with a run in this directory, with settings by dotted names."""

    @abstractmethod
    def numbers(self, values: Mapping[str, float], step: int | None) -> None:
        """Send numbers of a generation, or of the whole search."""

    @abstractmethod
    def text(self, name: str, text: str, step: int) -> None:
        """Send a text of a generation."""

    @abstractmethod
    def files(self, paths: Sequence[Path]) -> None:
        """Send files."""

    @abstractmethod
    def close(self) -> None:
        """End what ``open`` began."""


def flat(declared: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings by dotted names; lists are joined."""
    found: dict[str, Any] = {}
    for name, value in declared.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[before + name] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return found


def missing(package: str, extra: str) -> UserError:
    """The error where a tracker's library is not installed."""
    return UserError(f"Expected the package {package}, which is not there: pip install 'lossearch[{extra}]'")
