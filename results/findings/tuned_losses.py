"""Tuned losses of a run with their best settings: its own, those of a random search, and known losses."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lossearch.primitives.errors import UserError

Kind = Literal["found", "random search", "baseline"]

FILE = "tuned.parquet"


@dataclass(frozen=True)
class TunedLoss:
    """One loss with the settings that were best on a task's validation split, as the file and JSON have it."""

    task: str  #: name of the task
    kind: Kind  #: found, random search or baseline
    rank: int | None  #: rank in the leaderboard of the search that found it
    loss: str  #: formula as the search found it, or the name of a known loss
    formula: str  #: formula with the settings as numbers
    settings: tuple[str, ...]  #: ``name=value`` of each setting, the learning rate among them
    value: float | None  #: mean metric on the validation split, under seeds that chose no settings; null if it failed
    trials: int  #: number of settings that were tried
    pruned: int  #: number of trials that were given up before the last seed
    chosen_from: int | None  #: number of candidates trained in the search that found it; null for a known loss

    @staticmethod
    def settings_text(settings: Mapping[str, float]) -> tuple[str, ...]:
        """Return settings as the file has them. ``settings_by_name`` gives back the same numbers."""
        return tuple(f"{name}={value!r}" for name, value in settings.items())

    def settings_by_name(self) -> dict[str, float]:
        """Return the settings as numbers. Raises UserError where one is no finite number."""
        return read_settings(self.settings, self.loss)


def read_settings(settings: Iterable[str], loss: str) -> dict[str, float]:
    """Read texts ``name=value`` of a loss. Raises UserError where a value is no finite number."""
    numbers = {}
    for text in settings:
        name, _, value = text.partition("=")
        try:
            numbers[name] = float(value)
        except ValueError:
            numbers[name] = math.nan
        if not math.isfinite(numbers[name]):
            raise UserError(f"Expected settings of {loss} like learning_rate=0.1, got {text!r:.60}.")
    return numbers


def read_tuned(folder: Path) -> list[TunedLoss]:
    """Read the tuned losses in a folder. Raises UserError where there is no file, DamagedFile, NewerFile."""
    from lossearch.results.storage.tables import read_records

    path = folder / FILE
    if not path.exists():
        raise UserError(f"{path}: expected tuned losses, got no such file. Run 'lossearch tune' on the run first.")
    losses: list[TunedLoss] = read_records(path, TunedLoss)
    return losses


def write_tuned(folder: Path, tuned: list[TunedLoss]) -> None:
    """Write the tuned losses into a folder."""
    from lossearch.results.storage.tables import write_records

    write_records(folder / FILE, TunedLoss, tuned)
