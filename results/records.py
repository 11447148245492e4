"""Immutable records: of what a candidate was worth or why it was not trained, and of what was measured of a loss.

Invariant: a record never carries NaN or infinity; a failure is a status and a reason.
"""

import hashlib
import math
from collections.abc import Collection
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, get_args

#: Version of the columns below; a reader fills the columns that an older file lacks with null.
SCHEMA_VERSION = 5

Status = Literal["evaluated", "rejected", "duplicate", "failed"]
CLASS_WEIGHTS = ("learned", "pedcc", "sub_centers")  # as primitives.class_weights has them: to import it is slow

METRICS = ("accuracy", "verification accuracy", "mean IoU")

#: Every measure by its name, and whether more of it is better, less, or neither.
DIRECTIONS = {
    **dict.fromkeys(METRICS, 1),
    "balanced accuracy": 1,
    "macro precision": 1,
    "macro recall": 1,
    "macro F1": 1,
    "pixel accuracy": 1,
    "area under ROC": 1,
    "true acceptance at false acceptance 0.001": 1,
    "distance ratio": 1,
    "inter-class distance": 1,
    "calibration error": -1,
    "equal error rate": -1,
    "intra-class distance": -1,
    "gradient at the embedding": 0,
}


@dataclass(frozen=True)
class Evaluation:
    """One candidate on one task at one fidelity under one seed.

    A rejected or duplicate candidate was not trained: it has one record, without seed and fitness.
    """

    evaluation_id: str  #: identifies the work: the same in every process and after every restart
    loss_id: str  #: identifies the formula, with its class weights
    formula: str  #: canonical text, hyper-parameters as numbers
    complexity: int  #: nodes of the formula
    task: str  #: its name
    fidelity: str  #: how much training: network, steps, batch size, learning rate
    status: Status  #: evaluated, rejected, duplicate or failed
    generation: int  #: in which it was born, from 0
    birth: str  #: ``known``, ``baseline``, ``random``, or a kind of variation, such as ``crossover``
    birth_number: int  #: counts the births of the run, from 1
    parents: tuple[str, ...] = ()  #: loss ids
    name: str | None = None  #: of a known loss
    class_weights: str | None = None  #: learned, pedcc or sub_centers; null for a loss over logits
    island: int | None = None  #: the population that proposed it, where there are several; null before version 4
    seed: int | None = None  #: index of the training seed, 0, 1, ...
    steps: int | None = None  #: optimiser steps that were trained; null where none were, and before version 3
    full_steps: int | None = None  #: of a training that is not stopped at a rung; null likewise
    fitness: float | None = None  #: of the task's metric on the validation split, in [0, 1], larger is better
    metric: str | None = None  #: accuracy, verification accuracy or mean IoU; null before version 3: accuracy
    calibration: float | None = None  #: factor by which the loss was multiplied in training
    reason: str | None = None  #: why the candidate was not trained, or did not finish
    seconds: float | None = None  #: wall time of training and scoring
    finished_at: str | None = None  #: UTC, ISO 8601

    @property
    def at_a_rung(self) -> bool:
        """Whether the training was not a full one."""
        return self.steps is not None and self.full_steps is not None and self.steps < self.full_steps

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise ValueError(f"Expected a status of {', '.join(get_args(Status))}, got {self.status!r}.")
        if self.class_weights not in (None, *CLASS_WEIGHTS):
            raise ValueError(f"Expected class_weights of {', '.join(CLASS_WEIGHTS)}, or none.")
        if self.metric not in (None, *METRICS):
            raise ValueError(f"Expected metric of {', '.join(METRICS)}, or none.")
        _require_values(self, _REQUIRED)
        for name, low, high in (("fitness", 0.0, 1.0), ("calibration", 0.0, math.inf), ("seed", 0, math.inf)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"Expected {name} between {low} and {high}, got {value}.")
        if (self.fitness is not None) != (self.status == "evaluated"):
            raise ValueError(f"Expected a fitness where and only where a candidate was evaluated, got {self}.")
        if self.status != "evaluated" and not self.reason:
            raise ValueError(f"Expected a reason beside the status {self.status!r}.")


_REQUIRED = frozenset(each.name for each in fields(Evaluation) if each.default is MISSING)


@dataclass(frozen=True)
class Measurement:
    """One measure of one loss after a full training on a task under one seed, on a split that it was not trained on.

    Where the training failed, there is one record with the reason and no value.
    """

    measurement_id: str  #: identifies the training and the measure
    task: str  #: its name
    loss: str  #: its name, or its formula where it has none
    formula: str  #: hyper-parameters as numbers
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    fidelity: str  #: the training: network, steps, batch size, learning rate
    seed: int  #: index of the seed, 0, 1, ...
    split: str  #: validation or test
    measure: str  #: accuracy, macro F1, ...
    value: float | None  #: in the unit of the measure
    reason: str | None = None  #: why there is no value
    calibration: float | None = None  #: factor by which the loss was multiplied in training
    learning_rate: float | None = None  #: at the first step
    seconds: float | None = None  #: wall time of the training
    finished_at: str | None = None  #: UTC, ISO 8601
    confusion: tuple[int, ...] = ()  #: beside a metric: counts, found classes in columns, row after row of true ones
    right: tuple[int, ...] = ()  #: beside an accuracy: 1 for each sample or pair that was told rightly, else 0

    def __post_init__(self) -> None:
        _require_values(self, _NAMED)
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"Expected a value or a reason why there is none, got {self}.")
        if self.split not in ("validation", "test"):
            raise ValueError(f"Expected a split of validation or test, got {self.split!r}.")


_NAMED = frozenset({"measurement_id", "task", "loss", "formula", "fidelity", "seed", "split", "measure"})


def _require_values(record: Any, required: Collection[str]) -> None:
    """Raise ValueError where a field that must be there is not, or a number is not finite."""
    for each in fields(record):
        value = getattr(record, each.name)
        if value is None and each.name in required:
            raise ValueError(f"Expected a value for {each.name}, got none.")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"Expected a finite {each.name}, got {value}: record a failure and its reason.")


def digest(*parts: Any) -> str:
    """Sixteen hexadecimal digits that identify the parts."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]


def loss_id(formula: str, class_weights: str | None = None) -> str:
    """Identifies a loss by its canonical formula's text and, where they are not simply learned, its class weights."""
    plain = class_weights in (None, "learned")
    return digest("loss", formula, *(() if plain else (class_weights,)))[:10]


BASELINE = "cross_entropy"
