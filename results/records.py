"""Immutable records: the result of each candidate's training, and the measures of each loss.

Invariant: a record never carries NaN or infinity; a failure is a status and a reason. ``RULES`` has the rules of each
kind of record. A record checks them when it is built, and the store checks them for whole columns at once.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, NamedTuple, Protocol, get_args

#: Version of the columns below; a reader fills the columns that an older file lacks with null.
SCHEMA_VERSION = 5

Status = Literal["evaluated", "rejected", "duplicate", "failed"]

# The kinds in lossearch.primitives.modules.class_weights. They are repeated because that module imports torch.
CLASS_WEIGHTS = ("learned", "pedcc", "sub_centers")

# The terminals in lossearch.primitives.language.terminals that look at embeddings, repeated for the same reason.
EMBEDDING_TERMINALS = ("cosine", "dist2", "norm", "weight_norm")

METRICS = ("accuracy", "verification accuracy", "mean IoU")

SPLITS = ("validation", "test")

#: Form of the id of a loss, which names folders of a run: letters, digits, -, _ and points, 128 at most.
LOSS_ID = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"

#: Name of the loss that all others are compared with.
BASELINE = "cross_entropy"

#: Direction of each measure by its name: 1 if larger is better, -1 if smaller is better, 0 if neither.
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
    """Result of one candidate on one task at one fidelity under one seed.

    A rejected or duplicate candidate was not trained. It has one record, without seed and fitness.
    Raises ValueError where a field breaks one of ``RULES``.
    """

    evaluation_id: str  #: identifies the work: the same in every process and after every restart
    loss_id: str  #: identifies the formula, with its class weights
    formula: str  #: canonical text, hyper-parameters as numbers
    complexity: int  #: nodes of the formula
    task: str  #: name of the task
    fidelity: str  #: amount of training: network, steps, batch size, learning rate
    status: Status  #: evaluated, rejected, duplicate or failed
    generation: int  #: generation of the candidate's birth, from 0
    birth: str  #: ``known``, ``baseline``, ``random``, or a kind of variation, such as ``crossover``
    birth_number: int  #: number of the birth within the run, from 1
    parents: tuple[str, ...] = ()  #: loss ids
    name: str | None = None  #: name of a known loss
    class_weights: str | None = None  #: learned, pedcc or sub_centers; null for a loss over logits
    island: int | None = None  #: population that proposed it, if there are several; null before version 4
    seed: int | None = None  #: index of the training seed, 0, 1, ...
    steps: int | None = None  #: optimiser steps trained; null if none, and before version 3
    full_steps: int | None = None  #: optimiser steps of a training that does not stop at a rung; null likewise
    fitness: float | None = None  #: the task's metric on the validation split, in [0, 1], larger is better
    metric: str | None = None  #: accuracy, verification accuracy or mean IoU; null, before version 3, is accuracy
    calibration: float | None = None  #: factor on the loss in training
    reason: str | None = None  #: why the candidate was not trained or did not finish
    seconds: float | None = None  #: wall time of training and scoring
    finished_at: str | None = None  #: UTC, ISO 8601

    @property
    def at_a_rung(self) -> bool:
        """Return True if the training stopped at a rung, before its full number of steps."""
        return self.steps is not None and self.full_steps is not None and self.steps < self.full_steps

    def __post_init__(self) -> None:
        _require_rules(self)


@dataclass(frozen=True)
class Measurement:
    """One measure of one loss after a full training on a task under one seed, on a split without training samples.

    A failed training has one record with the reason and no value. Raises ValueError where a field breaks one of
    ``RULES``.
    """

    measurement_id: str  #: identifies the training and the measure
    task: str  #: name of the task
    loss: str  #: name of the loss, or its formula if it has no name
    formula: str  #: text of the formula, hyper-parameters as numbers
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    fidelity: str  #: amount of training: network, steps, batch size, learning rate
    seed: int  #: index of the seed, 0, 1, ...
    split: str  #: validation or test
    measure: str  #: accuracy, macro F1, ...
    value: float | None  #: value in the unit of the measure
    reason: str | None = None  #: why there is no value
    calibration: float | None = None  #: factor on the loss in training
    learning_rate: float | None = None  #: learning rate of the first step
    seconds: float | None = None  #: wall time of the training
    finished_at: str | None = None  #: UTC, ISO 8601
    confusion: tuple[int, ...] = ()  #: beside a metric: counts [true class, predicted class], row after row
    right: tuple[int, ...] = ()  #: beside an accuracy: 1 for each sample or pair that was predicted correctly, else 0

    def __post_init__(self) -> None:
        _require_rules(self)


class Fields(Protocol):
    """Fields of one record or of many at once: each answer is one boolean, or an array with one for each record.

    A missing value passes ``is_one_of``, ``matches``, ``is_finite`` and ``is_between``.
    """

    def has(self, name: str) -> Any:
        """Return True where the field has a value."""

    def equals(self, name: str, text: str) -> Any:
        """Return True where the field holds this text."""

    def is_one_of(self, name: str, texts: Sequence[str]) -> Any:
        """Return True where the field holds one of these texts."""

    def matches(self, name: str, pattern: str) -> Any:
        """Return True where the whole text matches a regular expression."""

    def is_finite(self, name: str) -> Any:
        """Return True where the number is finite."""

    def is_between(self, name: str, low: float, high: float) -> Any:
        """Return True where the number is in [low, high]."""


class Rule(NamedTuple):
    """A rule of one kind of record."""

    field: str  #: the field that an error shows
    expected: str  #: for an error, after "Expected"
    holds: Callable[[Fields], Any]  #: answers with booleans as ``Fields`` does


def _required(name: str) -> Rule:
    return Rule(name, f"a value for {name}", lambda record: record.has(name))


def _finite(name: str) -> Rule:
    expected = f"a finite {name} (record a failure and its reason instead)"
    return Rule(name, expected, lambda record: record.is_finite(name))


def _one_of(name: str, texts: Sequence[str]) -> Rule:
    return Rule(name, f"{name} to be one of {', '.join(texts)}", lambda record: record.is_one_of(name, texts))


def _between(name: str, low: float, high: float) -> Rule:
    return Rule(name, f"{name} between {low} and {high}", lambda record: record.is_between(name, low, high))


def _value_rules(record_type: type) -> Iterator[Rule]:
    """Yield the rules of the annotations: a field without a default needs a value unless it may be None."""
    for field in fields(record_type):
        name, types = field.name, {field.type, *get_args(field.type)}
        if field.default is MISSING and type(None) not in types:
            yield _required(name)
        if float in types:
            yield _finite(name)


def _has_text(record: Fields, name: str) -> Any:
    """Return True where the field holds a text that is not empty; ``!=`` is "and not" for one record and for arrays."""
    return record.has(name) != record.equals(name, "")


#: Rules of each kind of record.
RULES: dict[type, tuple[Rule, ...]] = {
    Evaluation: (
        *_value_rules(Evaluation),
        Rule(
            "loss_id",
            "a loss_id of letters, digits, -, _ and points, 128 at most",
            lambda record: record.matches("loss_id", LOSS_ID),
        ),
        _one_of("status", get_args(Status)),
        _one_of("class_weights", CLASS_WEIGHTS),
        _one_of("metric", METRICS),
        _between("fitness", 0.0, 1.0),
        _between("calibration", 0.0, math.inf),
        _between("seed", 0, math.inf),
        Rule(
            "fitness",
            "a fitness if and only if the status is 'evaluated'",
            lambda record: record.has("fitness") == record.equals("status", "evaluated"),
        ),
        Rule(
            "reason",
            "a reason unless the status is 'evaluated'",
            lambda record: record.equals("status", "evaluated") | _has_text(record, "reason"),
        ),
    ),
    Measurement: (
        *_value_rules(Measurement),
        _one_of("split", SPLITS),
        Rule(
            "reason",
            "either a value or a reason why there is none",
            lambda record: record.has("value") != record.has("reason"),
        ),
    ),
}


class _OneRecord:
    """The fields of one record."""

    def __init__(self, record: Evaluation | Measurement) -> None:
        self._values = vars(record)

    def has(self, name: str) -> bool:
        return self._values[name] is not None

    def equals(self, name: str, text: str) -> bool:
        return bool(self._values[name] == text)

    def is_one_of(self, name: str, texts: Sequence[str]) -> bool:
        return not self.has(name) or self._values[name] in texts

    def matches(self, name: str, pattern: str) -> bool:
        return not self.has(name) or re.fullmatch(pattern, str(self._values[name])) is not None

    def is_finite(self, name: str) -> bool:
        return not self.has(name) or math.isfinite(self._values[name])

    def is_between(self, name: str, low: float, high: float) -> bool:
        return not self.has(name) or low <= self._values[name] <= high


def _require_rules(record: Evaluation | Measurement) -> None:
    """Raise ValueError where a record breaks a rule of its kind."""
    for rule in RULES[type(record)]:
        if not rule.holds(_OneRecord(record)):
            value = getattr(record, rule.field)
            raise ValueError(f"Expected {rule.expected}, got {rule.field}={value!r}.")


def takes_embeddings(formula: str) -> bool:
    """Return True if the text of a formula looks at embeddings, so that its module takes them in place of logits."""
    return not set(EMBEDDING_TERMINALS).isdisjoint(re.findall(r"[A-Za-z_]\w*", formula))


def digest(*parts: Any) -> str:
    """Return sixteen hexadecimal digits that identify the parts."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]


def loss_id(formula: str, class_weights: str | None = None) -> str:
    """Return the ten digits that identify a loss by the text of its canonical formula and its class weights.

    Learned class weights and none give the same id.
    """
    learned = class_weights in (None, "learned")
    return digest("loss", formula, *(() if learned else (class_weights,)))[:10]
