"""Evaluate candidates: calibrate them, train them under every seed and score them, in one process.

Invariant: an evaluation depends on its work alone, never on when it ran, where, or what ran at the same time. Only
one that an executor had to stop differs. Whatever a candidate does, it ends as a record with a reason, not as an
exception.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import torch

from lossearch.evaluators.cohort.cohort import Cohort, find_batching_obstacle
from lossearch.evaluators.cohort.memory import free_bytes
from lossearch.evaluators.device import choose_device, one_thread
from lossearch.evaluators.measuring.measuring import measure_candidates
from lossearch.evaluators.training.one_by_one import OneByOne
from lossearch.evaluators.training.outcome import Outcome
from lossearch.evaluators.training.plan import TrainingPlan
from lossearch.evaluators.training.state import State
from lossearch.evaluators.work import Candidate, Result, Work, fidelity_of, record, training_seed
from lossearch.primitives.errors import UserError
from lossearch.primitives.language.parser import parse
from lossearch.results.records import Evaluation


def evaluate(work: Work, states: Mapping[str, State] | None = None, sharers: int = 1) -> Result:
    """Evaluate every candidate of the work under every seed, on a GPU or on one thread of the CPU.

    Candidates with class weights of one kind that start at one step are trained as one cohort. A candidate with a
    state in ``states``, by its key, continues from there. Its evaluations end with the first seed under which it
    failed. ``sharers`` is the number of processes that share this machine's memory.
    """
    states = states or {}
    groups: dict[tuple[str | None, int], list[Candidate]] = {}
    result = Result([])
    evaluations: dict[int, list[Evaluation]] = {}  # by the identity of the candidate
    for candidate in work.candidates:
        refusal = _find_refusal(candidate, work)
        if refusal is not None:
            outcome = Outcome.of_failure(refusal, work.fidelity.seeds)
            evaluations[id(candidate)] = list(_record_seeds(candidate, work, outcome, 0.0))
            continue
        state = states.get(candidate.key)
        groups.setdefault((candidate.class_weights, state.step if state else 0), []).append(candidate)
    with one_thread():
        device = choose_device(work.device)
        for candidates in groups.values():
            started = time.perf_counter()
            trainer = _GroupTrainer(work, device, free_bytes(device, sharers), states, result)
            outcomes = trainer.train(candidates)
            seconds = (time.perf_counter() - started) / (len(candidates) * work.fidelity.seeds)
            for candidate, outcome in zip(candidates, outcomes, strict=True):
                evaluations[id(candidate)] = list(_record_seeds(candidate, work, outcome, seconds))
    result.evaluations = [evaluation for candidate in work.candidates for evaluation in evaluations[id(candidate)]]
    return result


def _find_refusal(candidate: Candidate, work: Work) -> str | None:
    """Return why a candidate cannot be trained on the task at all, or None if it can."""
    try:
        work.get_task().require_given(parse(candidate.formula))
    except UserError as error:
        return str(error)
    return None


@dataclass
class _GroupTrainer:
    """Trainer of candidates with class weights of one kind that start at one step."""

    work: Work
    device: torch.device
    memory: int  #: bytes that a cohort may take
    states: Mapping[str, State]
    result: Result  #: receives states, measurements, notes and times

    def train(self, candidates: Sequence[Candidate]) -> list[Outcome]:
        """Train the candidates and return their outcomes.

        A cohort that needs too much memory is split in two. So is one in which something raises, until the candidate
        that raises is alone: its failure becomes its outcome, the same on every executor.
        """
        try:
            outcomes = self._train_together(candidates)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            if len(candidates) == 1:
                return [Outcome.of_failure(reason, self.work.fidelity.seeds)]
            self._note(f"a cohort of {len(candidates)} could not be trained, {reason}: split")
            outcomes = None
        if outcomes is not None:
            return outcomes
        half = len(candidates) // 2  # here, outside the handler, nothing holds the memory of the whole cohort
        return [*self.train(candidates[:half]), *self.train(candidates[half:])]

    def _train_together(self, candidates: Sequence[Candidate]) -> list[Outcome] | None:
        """Train a cohort, and keep its states at a rung, or its measurements at the end.

        Returns None if it does not fit into the memory.
        """
        work, result = self.work, self.result
        with _timed(result, "loading"):
            work.get_task().load()
        with _timed(result, "compiling"):
            trainer = self._build_trainer(self._plan(candidates))
        needed = trainer.estimate_bytes()
        if needed > self.memory and len(candidates) > 1:
            self._note(
                f"a cohort of {len(candidates)} needs {_format_gib(needed)}, {_format_gib(self.memory)} are free: split"
            )
            return None
        started = time.perf_counter()
        with _timed(result, "training"):
            outcomes = trainer.train_and_score(work.until)
        seconds = (time.perf_counter() - started) / (len(candidates) * work.fidelity.seeds)
        spent = [seconds + self._sum_seconds_before(candidate) for candidate in candidates]
        if work.until < work.fidelity.steps:
            for candidate, state, total in zip(candidates, trainer.states(), spent, strict=True):
                if state is not None:
                    result.states[candidate.key] = replace(state, seconds=total)
        elif work.measured is not None:
            with _timed(result, "measuring"):  # a list first, so that nothing is kept if a measure raises
                result.measurements += list(measure_candidates(candidates, outcomes, trainer, work, spent))
        return outcomes

    def _sum_seconds_before(self, candidate: Candidate) -> float:
        state = self.states.get(candidate.key)
        return 0.0 if state is None else state.seconds

    def _plan(self, candidates: Sequence[Candidate]) -> TrainingPlan:
        work = self.work
        return TrainingPlan(
            formulas=[parse(candidate.formula) for candidate in candidates],
            class_weights=candidates[0].class_weights,
            task=work.get_task(),
            fidelity=work.fidelity,
            seeds=[training_seed(work, seed) for seed in work.seeds],
            device=self.device,
            states=[self.states[candidate.key] for candidate in candidates if candidate.key in self.states],
            learning_rates=[fidelity_of(candidate, work).learning_rate for candidate in candidates],
            calibration_seed=training_seed(work, 0),
        )

    def _build_trainer(self, plan: TrainingPlan) -> Cohort | OneByOne:
        obstacle = find_batching_obstacle(plan.task, plan.fidelity)
        if obstacle is None:
            return Cohort(plan)
        self._note(f"{obstacle}: candidates are trained one at a time")
        return OneByOne(plan, keep_networks=self.work.measured is not None)

    def _note(self, note: str) -> None:
        if note not in self.result.notes:
            self.result.notes.append(note)


@contextmanager
def _timed(result: Result, activity: str) -> Iterator[None]:
    """Add the time of a block to the result's seconds."""
    started = time.perf_counter()
    try:
        yield
    finally:
        result.seconds[activity] = result.seconds.get(activity, 0.0) + time.perf_counter() - started


def _format_gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _record_seeds(candidate: Candidate, work: Work, outcome: Outcome, seconds: float) -> Iterator[Evaluation]:
    """Yield the record of each seed, up to the first that failed."""
    for seed, fitness, reason in zip(work.seeds, outcome.fitness, outcome.reasons, strict=True):
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
