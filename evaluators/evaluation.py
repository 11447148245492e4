"""Evaluates candidates: they are calibrated, trained under every seed and scored, in one process.

Invariant: what an evaluation is worth depends on its work alone, never on when, where or beside what it ran, unless
an executor had to stop it. Whatever a candidate does, it ends as a record with a reason, not as an exception.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import torch

from evaluators.cohort import Cohort, batched
from evaluators.fidelity import Fidelity
from evaluators.outcome import Outcome, failed
from evaluators.tasks import known_task
from evaluators.training import train_alone
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

    def halves(self) -> "tuple[Work, Work]":
        """The work as two, each with half of the candidates."""
        half = len(self.candidates) // 2
        return replace(self, candidates=self.candidates[:half]), replace(self, candidates=self.candidates[half:])

    def seconds_expected(self) -> float:
        """A generous guess of the time it takes: a tenth of a second, and 5 ms a step, for each training."""
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
    """Evaluate every candidate of the work under every seed, on one thread.

    Candidates that look at the same things are trained as one cohort. A candidate's evaluations end with the first
    seed under which it failed.
    """
    by_kind: dict[str | None, list[Candidate]] = {}
    for candidate in work.candidates:
        by_kind.setdefault(candidate.class_weights, []).append(candidate)
    found: dict[int, list[Evaluation]] = {}
    with one_thread():
        for class_weights, candidates in by_kind.items():
            started = time.perf_counter()
            outcomes = _outcomes(candidates, class_weights, work)
            seconds = (time.perf_counter() - started) / (len(candidates) * work.fidelity.seeds)
            for candidate, outcome in zip(candidates, outcomes, strict=True):
                found[id(candidate)] = list(_evaluations(candidate, work, outcome, seconds))
    return [evaluation for candidate in work.candidates for evaluation in found[id(candidate)]]


def _outcomes(candidates: Sequence[Candidate], class_weights: str | None, work: Work) -> list[Outcome]:
    """What becomes of candidates with class weights of one kind.

    Where something raises, the cohort is split in two, until the one that raises it is alone: whatever a candidate
    does ends as its outcome, alike on every executor.
    """
    task, fidelity = known_task(work.task), work.fidelity
    seeds = [training_seed(work, seed) for seed in range(fidelity.seeds)]
    try:
        formulas = [parse(candidate.formula) for candidate in candidates]
        if batched(task, fidelity):
            return Cohort(formulas, class_weights, task, fidelity, seeds).train_and_score()
        return [train_alone(formula, class_weights, task, fidelity, seeds) for formula in formulas]
    except Exception as error:
        if len(candidates) == 1:
            return [failed(f"{type(error).__name__}: {error}".splitlines()[0], fidelity.seeds)]
        half = len(candidates) // 2
        return [
            each for part in (candidates[:half], candidates[half:]) for each in _outcomes(part, class_weights, work)
        ]


def _evaluations(candidate: Candidate, work: Work, outcome: Outcome, seconds: float) -> Iterator[Evaluation]:
    for seed, (fitness, reason) in enumerate(zip(outcome.fitness, outcome.reasons, strict=True)):
        yield record(
            candidate,
            work,
            seed=seed,
            status="failed" if reason else "evaluated",
            fitness=fitness,
            reason=reason,
            calibration=outcome.calibration,
            seconds=seconds,
            finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        if reason:
            return


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: small networks run no faster on more, and results stay equal."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
