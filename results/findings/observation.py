"""Observation: what was seen of one training of a loss, as Parquet files in a directory of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossearch.results.storage.tables import read_folder, write_folder


@dataclass(frozen=True)
class ObservationForm:
    """Which training was seen."""

    loss_id: str  #: of the loss
    formula: str  #: canonical text
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    task: str  #: its name
    metric: str  #: what the fitness is
    fidelity: str  #: the training: network, steps, batch size, learning rate
    seed: int  #: of weights and batches
    confusion: tuple[int, ...]  #: counts on the validation split, found classes in columns; none for verification
    reason: str | None = None  #: why the training failed: then nothing else is there

    def __post_init__(self) -> None:
        if math.isqrt(len(self.confusion)) ** 2 != len(self.confusion):
            raise ValueError(f"Expected as many true as found classes, got {len(self.confusion)} counts.")


@dataclass(frozen=True)
class CoursePoint:
    """How the training stood at a step."""

    step: int
    loss: float  #: on samples of the training split, times the calibration
    fitness: float  #: on the validation split
    gradient: float  #: mean size of a sample's gradient at its embedding


@dataclass(frozen=True)
class EmbeddedPoint:
    """A sample of the validation split in two dimensions, by t-SNE of its embedding."""

    x: float
    y: float
    target: int  #: its class
    found: int  #: the class that the network finds; -1 where it was trained on other classes


@dataclass(frozen=True)
class GridPoint:
    """A point of the landscape around the trained weights, along two filter-normalised random directions."""

    what: str  #: value of the loss, or ratio of the Hessian's extreme eigenvalues, |smallest/largest|
    a: float
    b: float
    value: float

    def __post_init__(self) -> None:
        if self.what not in ("value", "ratio") or not all(map(math.isfinite, (self.a, self.b, self.value))):
            raise ValueError(f"Expected a finite value or ratio, got {self}.")


@dataclass(frozen=True)
class Picture:
    """An image of the validation split, and where the network sees the class that it finds."""

    height: int
    width: int
    image: tuple[float, ...]  #: row after row, in [0, 1]
    map: tuple[float, ...]  #: likewise

    def __post_init__(self) -> None:
        if self.width < 1 or not self.height * self.width == len(self.image) == len(self.map):
            raise ValueError(f"Expected {self.height} rows of {self.width} pixels, got {len(self.image)} pixels.")


@dataclass(frozen=True)
class Observation:
    """All that was seen of a training."""

    form: ObservationForm
    course: Sequence[CoursePoint]
    embedded: Sequence[EmbeddedPoint]
    grid: Sequence[GridPoint]
    pictures: Sequence[Picture]

    def write(self, path: Path) -> None:
        """Replace the files of a directory."""
        path.mkdir(parents=True, exist_ok=True)
        write_folder(path, self.form, _FILES, self)


_FILES: dict[str, type] = {
    "course": CoursePoint,
    "embedded": EmbeddedPoint,
    "grid": GridPoint,
    "pictures": Picture,
}


def observation_folder(run: Path, loss_id: str) -> Path:
    """Where the observation of a run's loss is kept."""
    return run / "observation" / loss_id


def read_observation(path: Path) -> Observation | None:
    """The observation in a directory; None where there is none. Raises DamagedFile."""
    found = read_folder(path, ObservationForm, _FILES)
    return None if found is None else Observation(**found)
