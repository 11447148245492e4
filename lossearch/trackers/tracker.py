"""Base class of all trackers: what they send of a search, and when."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossearch.callbacks import Callback, GenerationEnd, SearchStart
from lossearch.primitives.errors import UserError

if TYPE_CHECKING:
    from lossearch.callbacks import Run

#: Counts that are sent after each generation.
_COUNTS = ("evaluated", "stopped", "failed", "rejected", "duplicates")

#: Files of the results that are sent at the end.
_FILES = ("experiment.toml", "leaderboard.parquet", "best_loss.py")


class Tracker(Callback, ABC):
    """Sends parameters at the start, numbers after each generation, and the files of the results at the end."""

    def on_start(self, start: SearchStart) -> None:
        """Open the tracker's run and send the settings of the experiment."""
        self.open(start.path, flatten(start.experiment))

    def on_generation(self, generation: GenerationEnd) -> None:
        """Send counts and the best loss so far."""
        best, baseline = generation.best_fitness, generation.baseline_fitness
        numbers: dict[str, float | None] = {name: getattr(generation, name) for name in _COUNTS}
        numbers |= {"best_fitness": best, "cross_entropy_fitness": baseline}
        if best is not None and baseline is not None:
            numbers["difference_to_cross_entropy"] = best - baseline
        known = {name: float(value) for name, value in numbers.items() if value is not None}
        self.log_numbers(known, generation.number)
        self.log_text("best_formula", generation.best_formula, generation.number)

    def on_end(self, run: "Run") -> None:
        """Send the test of the best loss under fresh seeds, and the files of the results."""
        facts = {} if run.trial is None else run.trial.facts()
        self.log_numbers({f"trial_{name}": float(value) for name, value in facts.items() if value is not None}, None)
        self.log_files([run.path / name for name in _FILES if (run.path / name).exists()])
        self.close()

    @abstractmethod
    def open(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Start tracking the run in this directory. ``settings`` have dotted names."""

    @abstractmethod
    def log_numbers(self, values: Mapping[str, float], step: int | None) -> None:
        """Send numbers of a generation, or of the whole search if ``step`` is None."""

    @abstractmethod
    def log_text(self, name: str, text: str, step: int) -> None:
        """Send a text of a generation."""

    @abstractmethod
    def log_files(self, paths: Sequence[Path]) -> None:
        """Send files."""

    @abstractmethod
    def close(self) -> None:
        """Close what ``open`` opened."""


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted names. A list becomes one text, since trackers take single values."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return flat


def not_installed(package: str) -> UserError:
    """Return the error for a tracker whose library is missing. The extra has the name of the package."""
    return UserError(f"Expected the package {package}, which is not installed: pip install 'lossearch[{package}]'")
