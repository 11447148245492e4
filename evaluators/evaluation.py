"""Evaluates candidates: each is calibrated, trained under every seed and scored, in one process.

Invariant: what an evaluation is worth depends on its work alone, never on when, where or beside what it ran, unless
an executor had to stop it. Whatever a candidate does, it ends as a record with a reason, not as an exception.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from evaluators.fidelity import Fidelity
from evaluators.tasks import known_task
from evaluators.training import TrainingFailed, calibration_factor, loss_for, train_and_score
from primitives.parser import parse
from results.records import Evaluation, digest


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


@dataclass(frozen=True)
class Work:
    """What one call of an executor evaluates: candidates on a task at a fidelity."""

    candidates: tuple[Candidate, ...]
    task: str
    fidelity: Fidelity
    run_seed: int

    def seconds_expected(self) -> float:
        """A generous guess of the time it takes: a tenth of a second, and 5 ms a step."""
        return len(self.candidates) * self.fidelity.seeds * (0.1 + 0.005 * self.fidelity.steps)


def evaluation_id(candidate: Candidate, work: Work, seed: int | None) -> str:
    """Identifies one training, or with no seed the candidate as it was born."""
    born = candidate.birth_number if seed is None else "trained"
    return digest(candidate.loss_id, work.task, work.fidelity.label(), work.run_seed, seed, born)


def training_seed(work: Work, seed: int) -> int:
    """Seed of a training's generator: the same for every candidate, so that they can be compared in pairs."""
    return int(digest("training", work.run_seed, work.task, seed)[:8], 16)


def record(candidate: Candidate, work: Work, *, seed: int | None = None, **outcome: object) -> Evaluation:
    """The evaluation of a candidate with this outcome: status, and fitness or reason."""
    return Evaluation(
        evaluation_id=evaluation_id(candidate, work, seed),
        loss_id=candidate.loss_id,
        formula=candidate.formula,
        complexity=candidate.complexity,
        task=work.task,
        fidelity=work.fidelity.label(),
        generation=candidate.generation,
        birth=candidate.birth,
        birth_number=candidate.birth_number,
        parents=candidate.parents,
        name=candidate.name,
        class_weights=candidate.class_weights,
        seed=seed,
        **outcome,  # type: ignore[arg-type]
    )


def failures(work: Work, reason: str) -> list[Evaluation]:
    """The record of every training of the work, failed for one reason."""
    return [
        record(candidate, work, seed=seed, status="failed", reason=reason)
        for candidate in work.candidates
        for seed in range(work.fidelity.seeds)
    ]


def evaluate(work: Work) -> list[Evaluation]:
    """Evaluate every candidate of the work under every seed, on one thread."""
    with one_thread():
        return [evaluation for candidate in work.candidates for evaluation in _evaluate(candidate, work)]


def _evaluate(candidate: Candidate, work: Work) -> list[Evaluation]:
    task, fidelity, formula = known_task(work.task), work.fidelity, parse(candidate.formula)
    evaluations: list[Evaluation] = []
    calibration: float | None = None
    for seed in range(fidelity.seeds):
        started = time.perf_counter()
        fitness, reason = None, None
        try:
            if calibration is None:  # one factor for all seeds: it is a property of the loss
                calibration = calibration_factor(
                    loss_for(formula, task, fidelity, candidate.class_weights), task, fidelity, training_seed(work, 0)
                )
            loss = loss_for(formula, task, fidelity, candidate.class_weights)
            fitness = train_and_score(loss, task, fidelity, training_seed(work, seed), calibration)
        except TrainingFailed as failure:
            reason = str(failure)
        except Exception as error:  # whatever a candidate does ends here, alike on every executor
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        evaluations.append(
            record(
                candidate,
                work,
                seed=seed,
                status="failed" if reason else "evaluated",
                fitness=fitness,
                reason=reason,
                calibration=calibration,
                seconds=time.perf_counter() - started,
                finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            )
        )
        if reason:
            break
    return evaluations


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: small networks run no faster on more, and results stay equal."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
