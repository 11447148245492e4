"""Work: what an executor is given, candidates on a task at a fidelity, and the records that come of it.

Invariant: the identity of an evaluation depends on the candidate, the task, the fidelity and the seed alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import task_on
from lossearch.evaluators.tasks.own_data import OwnData
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.state import State
from lossearch.results.records import Evaluation, Measurement, digest


@dataclass(frozen=True)
class Candidate:
    """A loss under evaluation: its canonical formula as text, and where it came from."""

    loss_id: str
    formula: str
    complexity: int
    generation: int
    birth: str
    birth_number: int
    parents: tuple[str, ...] = ()
    name: str | None = None
    class_weights: str | None = None
    island: int | None = None  #: whose population it is of, where there are several
    learning_rate: float | None = None  #: in place of the fidelity's

    @property
    def called(self) -> str:
        """What it is called in the records of a comparison: its name, or its formula where it has none."""
        return self.name or self.formula

    @property
    def key(self) -> str:
        """Tells candidates of one piece of work apart."""
        return self.loss_id if self.learning_rate is None else f"{self.loss_id}@{self.learning_rate:g}"


@dataclass(frozen=True)
class Work:
    """What one call of an executor evaluates: candidates on a task at a fidelity, up to one of its stages."""

    candidates: tuple[Candidate, ...]
    task: str
    fidelity: TrainingSettings
    run_seed: int
    stage: int | None = None  #: steps to train to; None is to the end
    device: str = "auto"
    measured: str | None = None  #: of a comparison: the split, validation or test, that is measured on at the end
    metric_alone: bool = False  #: whether nothing but the task's metric is measured, as for tuning, on validation
    first_seed: int = 0  #: the index of the first of as many seeds as the fidelity has
    data: OwnData | None = None  #: of a task on the user's own data
    unhurried: bool = False  #: whether it may take as long as it takes, where no deadline is declared

    @property
    def on(self) -> Task:
        """The task itself."""
        return task_on(self.task, self.data)

    @property
    def until(self) -> int:
        """Steps to train to."""
        return self.fidelity.steps if self.stage is None else self.stage

    @property
    def seeds(self) -> range:
        """Indices of the seeds."""
        return range(self.first_seed, self.first_seed + self.fidelity.seeds)

    def halves(self) -> "tuple[Work, Work]":
        """The work as two, each with half of the candidates."""
        half = len(self.candidates) // 2
        return replace(self, candidates=self.candidates[:half]), replace(self, candidates=self.candidates[half:])

    def seconds_expected(self) -> float:
        """A generous guess of the time it takes: a tenth of a second, and 5 ms a step, for each training."""
        return len(self.candidates) * self.fidelity.seeds * (0.1 + 0.005 * self.until)


@dataclass
class Result:
    """What came of work: its evaluations, where the trainings that may go on stand, and what the log should tell."""

    evaluations: list[Evaluation]
    states: dict[str, State] = field(default_factory=dict)  #: by the key of the candidate
    notes: list[str] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    worker: str = "this process"
    seconds: dict[str, float] = field(default_factory=dict)  #: of the worker, by what it did


@dataclass(frozen=True)
class Spent:
    """What a worker did for a piece of work."""

    worker: str
    trainings: int
    seconds: Mapping[str, float]  #: by what it did


def spent_on(result: Result) -> list[Spent]:
    """What was done for a result; nothing where it was known before."""
    return [Spent(result.worker, len(result.evaluations), result.seconds)] if result.seconds else []


def fidelity_of(candidate: Candidate, work: Work) -> TrainingSettings:
    """The fidelity that a candidate is trained at."""
    if candidate.learning_rate is None:
        return work.fidelity
    return work.fidelity.model_copy(update={"learning_rate": candidate.learning_rate})


def evaluation_id(candidate: Candidate, work: Work, seed: int | None) -> str:
    """Identifies one training up to the work's stage, or with no seed the candidate as it was born."""
    born = candidate.birth_number if seed is None else "trained"
    label = fidelity_of(candidate, work).label(work.stage)
    return digest(candidate.loss_id, work.task, label, work.run_seed, seed, born)


def training_seed(work: Work, seed: int) -> int:
    """Seed of a training's generator: the same for every candidate, so that they can be compared in pairs.

    A comparison has other seeds than a search, so that a loss is not tested again under those that it was chosen by.
    """
    kind = "search" if work.measured is None else "training"
    return int(digest(kind, work.run_seed, work.task, seed)[:8], 16)


def record(candidate: Candidate, work: Work, *, seed: int | None = None, **outcome: Any) -> Evaluation:
    """The evaluation of a candidate with this outcome: status, and fitness or reason."""
    return Evaluation(
        evaluation_id=evaluation_id(candidate, work, seed),
        loss_id=candidate.loss_id,
        formula=candidate.formula,
        complexity=candidate.complexity,
        task=work.task,
        fidelity=fidelity_of(candidate, work).label(work.stage),
        generation=candidate.generation,
        birth=candidate.birth,
        birth_number=candidate.birth_number,
        parents=candidate.parents,
        name=candidate.name,
        class_weights=candidate.class_weights,
        island=candidate.island,
        seed=seed,
        steps=None if seed is None else work.until,
        full_steps=None if seed is None else work.fidelity.steps,
        metric=work.on.metric.name,
        **outcome,
    )


def candidate_of(evaluation: Evaluation) -> Candidate:
    """The candidate that an evaluation is of."""
    return Candidate(
        evaluation.loss_id,
        evaluation.formula,
        evaluation.complexity,
        evaluation.generation,
        evaluation.birth,
        evaluation.birth_number,
        evaluation.parents,
        evaluation.name,
        evaluation.class_weights,
        evaluation.island,
    )


def failures(work: Work, reason: str) -> list[Evaluation]:
    """The record of every training of the work, failed for one reason."""
    return [
        record(candidate, work, seed=seed, status="failed", reason=reason)
        for candidate in work.candidates
        for seed in work.seeds
    ]


def candidate_from(saved: Mapping[str, Any]) -> Candidate:
    """A candidate from its plain data."""
    plain = {each.name: saved[each.name] for each in fields(Candidate)}
    return Candidate(**plain | {"parents": tuple(plain["parents"])})
