"""Tuned losses of a run: the losses that it found, of a random search and known ones, with what tuning chose."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lossearch.primitives.errors import UserError

Kind = Literal["found", "random search", "baseline"]

FILE = "tuned.parquet"


@dataclass(frozen=True)
class TunedLoss:
    """One loss with the settings that were best on a task's validation split."""

    task: str  #: its name
    kind: Kind  #: found, random search or baseline
    rank: int | None  #: in the leaderboard of the search that found it
    loss: str  #: as it was found, or a known loss's name
    formula: str  #: with the settings as numbers
    settings: tuple[str, ...]  #: ``name=value`` of each, the learning rate among them
    value: float | None  #: mean of the metric on the validation split, under seeds that chose no settings; or null
    trials: int  #: settings that were tried
    pruned: int  #: of them, given up before the last seed
    chosen_from: int | None  #: candidates trained in the search that found it; null for a known loss

    def settings_by_name(self) -> dict[str, float]:
        """The settings as numbers. Raises UserError where one is none."""
        found = {}
        for text in self.settings:
            name, _, value = text.partition("=")
            try:
                found[name] = float(value)
            except ValueError:
                found[name] = math.nan
            if not math.isfinite(found[name]):
                raise UserError(f"Expected settings of {self.loss} like learning_rate=0.1, got {text!r:.60}.")
        return found


def read_tuned(folder: Path) -> list[TunedLoss]:
    """The tuned losses of a folder. Raises UserError where there are none, DamagedFile, NewerFile."""
    from lossearch.results.storage.tables import read_records

    path = folder / FILE
    if not path.exists():
        raise UserError(f"{path}: expected what tuning found, got no such file. Run 'lossearch tune' on the run first.")
    found: list[TunedLoss] = read_records(path, TunedLoss)
    return found


def write_tuned(folder: Path, tuned: list[TunedLoss]) -> None:
    """Write the tuned losses into a folder."""
    from lossearch.results.storage.tables import write_records

    write_records(folder / FILE, TunedLoss, tuned)
