"""Proxy values: what each candidate was worth after full trainings and after shorter ones, one seed each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossearch.results.record_tables import read_records, write_records

FILE = "values.parquet"

#: The training that shorter ones stand in for, as a value names it.
FULL = "full training"

#: Trainings of as many steps as the full one or fewer, under seeds that the full one does not have: the steps of the
#: full training are divided by so much.
PROXIES = {"1/8": 8, "1/4": 4, "1/2": 2, "all steps": 1}


@dataclass(frozen=True)
class ProxyValue:
    """One candidate's worth on a task after one training, on the validation split."""

    task: str
    loss_id: str
    formula: str
    name: str | None  #: of a known loss
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    proxy: str  #: full training, or which part of its steps
    steps: int
    full_steps: int  #: of the full training
    seed: int  #: index of the training seed
    metric: str
    fitness: float | None  #: of the metric, in [0, 1], larger is better; null where the training failed
    reason: str | None  #: why it failed


def write_values(folder: Path, values: Sequence[ProxyValue]) -> None:
    """Write the values into a folder."""
    write_records(folder / FILE, ProxyValue, values)


def read_values(folder: Path) -> list[ProxyValue]:
    """The values in a folder. Raises DamagedFile, NewerFile, OSError."""
    found: list[ProxyValue] = read_records(folder / FILE, ProxyValue)
    return found
