"""Work: candidates to evaluate on a task with one training, as executors take it, and the records that result.

Invariant: the identity of an evaluation depends on the candidate, the task, the training and the seed alone.
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
    """A loss to evaluate: its canonical formula as text, and its origin."""

    loss_id: str
    formula: str
    complexity: int
    generation: int
    birth: str
    birth_number: int
    parents: tuple[str, ...] = ()
    name: str | None = None
    class_weights: str | None = None
    island: int | None = None  #: number of its island, if there are several
    learning_rate: float | None = None  #: in place of the fidelity's

    @property
    def called(self) -> str:
        """Name in the records of a comparison, or the formula of a candidate without one."""
        return self.name or self.formula

    @property
    def key(self) -> str:
        """Text that no other candidate of the same work has."""
        return self.loss_id if self.learning_rate is None else f"{self.loss_id}@{self.learning_rate:g}"


@dataclass(frozen=True)
class Work:
    """Work of one call of an executor: candidates on a task, trained up to a rung or to the end."""

    candidates: tuple[Candidate, ...]
    task: str
    fidelity: TrainingSettings
    run_seed: int
    stage: int | None = None  #: step to train up to; None is the last
    device: str = "auto"
    measured: str | None = None  #: split that a comparison measures on at the end: validation or test
    metric_alone: bool = False  #: measure only the task's metric, on validation, as tuning does
    first_seed: int = 0  #: index of the first seed; the fidelity says how many follow
    data: OwnData | None = None  #: declaration of the user's own data, for a task on it
    unhurried: bool = False  #: run without a deadline, if the user declares none

    def get_task(self) -> Task:
        """Return the task with this name."""
        return task_on(self.task, self.data)

    @property
    def until(self) -> int:
        """Step to train up to."""
        return self.fidelity.steps if self.stage is None else self.stage

    @property
    def seeds(self) -> range:
        """Indices of the seeds to train under."""
        return range(self.first_seed, self.first_seed + self.fidelity.seeds)

    def halves(self) -> "tuple[Work, Work]":
        """Split the work into two, each with half of the candidates."""
        half = len(self.candidates) // 2
        return replace(self, candidates=self.candidates[:half]), replace(self, candidates=self.candidates[half:])

    def seconds_expected(self) -> float:
        """Guess the time of the work generously: 0.1 s and 5 ms a step for each training."""
        return len(self.candidates) * self.fidelity.seeds * (0.1 + 0.005 * self.until)


@dataclass
class Result:
    """Result of work: its evaluations and measurements, states to continue from, and notes for the log."""

    evaluations: list[Evaluation]
    states: dict[str, State] = field(default_factory=dict)  #: by the candidate's key; left at rungs
    notes: list[str] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    worker: str = "this process"
    seconds: dict[str, float] = field(default_factory=dict)  #: time of the worker, by activity


@dataclass(frozen=True)
class Spent:
    """Trainings and time that a worker spent on a piece of work."""

    worker: str
    trainings: int
    seconds: Mapping[str, float]  #: by activity


def spent_on(result: Result) -> list[Spent]:
    """Return the time spent on a result; nothing if the result was known before."""
    return [Spent(result.worker, len(result.evaluations), result.seconds)] if result.seconds else []


def fidelity_of(candidate: Candidate, work: Work) -> TrainingSettings:
    """Return the training of a candidate: the work's, with the candidate's own learning rate if it has one."""
    if candidate.learning_rate is None:
        return work.fidelity
    return work.fidelity.model_copy(update={"learning_rate": candidate.learning_rate})


def evaluation_id(candidate: Candidate, work: Work, seed: int | None) -> str:
    """Return the identity of one training up to the work's stage, or, without a seed, of the candidate's birth."""
    born = candidate.birth_number if seed is None else "trained"
    label = fidelity_of(candidate, work).label(work.stage)
    return digest(candidate.loss_id, work.task, label, work.run_seed, seed, born)


def training_seed(work: Work, seed: int) -> int:
    """Return the seed of a training's generators: the same for every candidate, so that pairs can be compared.

    A comparison has other seeds than a search, so that no loss is tested under the seeds that selected it.
    """
    kind = "search" if work.measured is None else "training"
    return int(digest(kind, work.run_seed, work.task, seed)[:8], 16)


def record(candidate: Candidate, work: Work, *, seed: int | None = None, **outcome: Any) -> Evaluation:
    """Build the evaluation of a candidate from its outcome: a status, and a fitness or a reason."""
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
        metric=work.get_task().metric.name,
        **outcome,
    )


def candidate_of(evaluation: Evaluation) -> Candidate:
    """Return the candidate of an evaluation."""
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
    """Record every training of the work as failed for one reason."""
    return [
        record(candidate, work, seed=seed, status="failed", reason=reason)
        for candidate in work.candidates
        for seed in work.seeds
    ]


def candidate_from(saved: Mapping[str, Any]) -> Candidate:
    """Return the candidate of its plain data, as ``dataclasses.asdict`` gives it."""
    plain = {entry.name: saved[entry.name] for entry in fields(Candidate)}
    return Candidate(**plain | {"parents": tuple(plain["parents"])})
