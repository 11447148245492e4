"""Observation of one training of a loss, as Parquet files in one directory: its course, embeddings, landscape, maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossearch.results.records import digest
from lossearch.results.storage.run_files import make_folder, plain_name
from lossearch.results.storage.tables import read_folder, write_folder


@dataclass(frozen=True)
class ObservationForm:
    """The training that was observed."""

    loss_id: str
    formula: str  #: canonical text
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    task: str  #: name of the task
    metric: str  #: metric that the fitness is measured in
    fidelity: str  #: the training: network, steps, batch size, learning rate
    seed: int  #: seed of the weights and the batches
    confusion: tuple[int, ...]  #: counts on the validation split, predicted classes in columns; empty for verification
    reason: str | None = None  #: why the training failed; then nothing else was recorded

    def __post_init__(self) -> None:
        if math.isqrt(len(self.confusion)) ** 2 != len(self.confusion):
            raise ValueError(f"Expected the counts of a square confusion matrix, got {len(self.confusion)} counts.")


@dataclass(frozen=True)
class CoursePoint:
    """The state of the training at one step."""

    step: int
    loss: float  #: on samples of the training split, multiplied by the calibration
    fitness: float  #: on the validation split
    gradient: float  #: mean size of a sample's gradient at its embedding


@dataclass(frozen=True)
class EmbeddedPoint:
    """A sample of the validation split in two dimensions, by t-SNE of its embedding."""

    x: float
    y: float
    target: int  #: true class
    found: int  #: the predicted class; -1 where the network was trained on other classes


@dataclass(frozen=True)
class GridPoint:
    """A point of the landscape around the trained weights, along two filter-normalised random directions."""

    what: str  #: value: the loss; ratio: the Hessian's extreme eigenvalues, |smallest/largest|
    a: float
    b: float
    value: float

    def __post_init__(self) -> None:
        if self.what not in ("value", "ratio") or not all(map(math.isfinite, (self.a, self.b, self.value))):
            raise ValueError(f"Expected a finite value or ratio, got {self}.")


@dataclass(frozen=True)
class Picture:
    """An image of the validation split, and where the network sees the class that it predicts."""

    height: int
    width: int
    image: tuple[float, ...]  #: pixels row by row, in [0, 1]
    map: tuple[float, ...]  #: class map row by row, in [0, 1]

    def __post_init__(self) -> None:
        if self.width < 1 or not self.height * self.width == len(self.image) == len(self.map):
            raise ValueError(f"Expected {self.height} rows of {self.width} pixels, got {len(self.image)} pixels.")


@dataclass(frozen=True)
class Observation:
    """The whole observation of one training."""

    form: ObservationForm
    course: Sequence[CoursePoint]
    embedded: Sequence[EmbeddedPoint]
    grid: Sequence[GridPoint]
    pictures: Sequence[Picture]

    def write(self, path: Path) -> None:
        """Write the files of the observation, replacing those in the directory."""
        make_folder(path)
        write_folder(path, self.form, _FILES, self)


_FILES: dict[str, type] = {
    "course": CoursePoint,
    "embedded": EmbeddedPoint,
    "grid": GridPoint,
    "pictures": Picture,
}


def observation_folder(run: Path, loss_id: str, tuned: Sequence[str | float | None] = ()) -> Path:
    """Return the directory that keeps the observation of a run's loss. Raises ForeignFile for an id that is none.

    ``tuned`` are the formula and the learning rate of a tuned form, which has a directory of its own.
    """
    return run / "observation" / plain_name(f"{loss_id}-{digest(*tuned)}" if tuned else loss_id)


def read_observation(path: Path) -> Observation | None:
    """Read the observation in a directory; None where there is none. Raises DamagedFile."""
    parts = read_folder(path, ObservationForm, _FILES)
    return None if parts is None else Observation(**parts)
