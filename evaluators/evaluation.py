"""Evaluates candidates: they are calibrated, trained under every seed and scored, in one process.

Invariant: what an evaluation is worth depends on its work alone, never on when, where or beside what it ran, unless
an executor had to stop it. Whatever a candidate does, it ends as a record with a reason, not as an exception.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import torch

from lossearch.evaluators.cohort.cohort import Cohort, unbatched
from lossearch.evaluators.cohort.memory import free_bytes
from lossearch.evaluators.device import chosen_device, one_thread
from lossearch.evaluators.measuring.measuring import measurements
from lossearch.evaluators.training.one_by_one import Measurable, OneByOne
from lossearch.evaluators.training.outcome import Outcome, failed
from lossearch.evaluators.training.state import State
from lossearch.evaluators.work import Candidate, Result, Work, fidelity_of, record, training_seed
from lossearch.primitives.errors import UserError
from lossearch.primitives.language.parser import parse
from lossearch.results.records import Evaluation


def evaluate(work: Work, states: Mapping[str, State] | None = None, sharers: int = 1) -> Result:
    """Evaluate every candidate of the work under every seed, on a GPU or on one thread of the CPU.

    Candidates that look at the same things are trained as one cohort, from their ``states`` on where they have one. A
    candidate's evaluations end with the first seed under which it failed. ``sharers`` is the number of processes that
    share this machine's memory.
    """
    known = states or {}
    groups: dict[tuple[str | None, int], list[Candidate]] = {}
    result, found = Result([]), {}
    for candidate in work.candidates:
        refusal = _refusal(candidate, work)
        if refusal is not None:
            found[id(candidate)] = list(_evaluations(candidate, work, failed(refusal, work.fidelity.seeds), 0.0))
            continue
        state = known.get(candidate.key)
        groups.setdefault((candidate.class_weights, state.step if state else 0), []).append(candidate)
    with one_thread():
        device = chosen_device(work.device)
        for candidates in groups.values():
            started = time.perf_counter()
            trainer = _Trainer(work, device, free_bytes(device, sharers), known, result)
            outcomes = trainer.outcomes(candidates)
            seconds = (time.perf_counter() - started) / (len(candidates) * work.fidelity.seeds)
            for candidate, outcome in zip(candidates, outcomes, strict=True):
                found[id(candidate)] = list(_evaluations(candidate, work, outcome, seconds))
    result.evaluations = [evaluation for candidate in work.candidates for evaluation in found[id(candidate)]]
    return result


def _refusal(candidate: Candidate, work: Work) -> str | None:
    """Why a candidate cannot be trained on the task at all."""
    try:
        work.on.require_given(parse(candidate.formula))
    except UserError as error:
        return str(error)
    return None


@dataclass
class _Trainer:
    """Trains candidates with class weights of one kind that stand at one step."""

    work: Work
    device: torch.device
    memory: int  #: bytes that a cohort may take
    states: Mapping[str, State]
    result: Result  #: takes in states and notes

    def outcomes(self, candidates: Sequence[Candidate]) -> list[Outcome]:
        """What becomes of the candidates.

        A cohort that takes too much memory is split in two. So is one in which something raises, until the candidate
        that raises it is alone: whatever a candidate does ends as its outcome, alike on every executor.
        """
        try:
            outcomes = self._trained_together(candidates)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            if len(candidates) == 1:
                return [failed(reason, self.work.fidelity.seeds)]
            self._note(f"a cohort of {len(candidates)} could not be trained, {reason}: split")
            outcomes = None
        if outcomes is not None:
            return outcomes
        half = len(candidates) // 2  # by now the whole cohort and what it held are gone
        return [*self.outcomes(candidates[:half]), *self.outcomes(candidates[half:])]

    def _trained_together(self, candidates: Sequence[Candidate]) -> list[Outcome] | None:
        """The outcomes of a cohort, and its states where it may go on; None where it would not fit the memory."""
        with _timed(self.result, "loading"):
            self.work.on.load()
        with _timed(self.result, "compiling"):
            cohort = self._cohort(candidates)
        needed = cohort.bytes_needed()
        if needed > self.memory and len(candidates) > 1:
            self._note(f"a cohort of {len(candidates)} needs {_gib(needed)}, {_gib(self.memory)} are free: split")
            return None
        started = time.perf_counter()
        with _timed(self.result, "training"):
            outcomes = cohort.train_and_score(self.work.until)
        seconds = (time.perf_counter() - started) / (len(candidates) * self.work.fidelity.seeds)
        spent = [seconds + (self.states[each.key].seconds if each.key in self.states else 0.0) for each in candidates]
        if self.work.until < self.work.fidelity.steps:
            stands = zip(candidates, cohort.states(), spent, strict=True)
            self.result.states |= {
                each.key: replace(state, seconds=so_far) for each, state, so_far in stands if state is not None
            }
        elif isinstance(cohort, Measurable | Cohort) and self.work.measured is not None:
            with _timed(self.result, "measuring"):  # all of it or, where something raises, nothing
                self.result.measurements += list(measurements(candidates, outcomes, cohort, self.work, spent))
        return outcomes

    def _cohort(self, candidates: Sequence[Candidate]) -> Cohort | OneByOne:
        work, task = self.work, self.work.on
        seeds = [training_seed(work, seed) for seed in work.seeds]
        formulas = [parse(candidate.formula) for candidate in candidates]
        states = [self.states[each.key] for each in candidates if each.key in self.states]
        kind: type[Cohort | OneByOne] = Cohort
        obstacle = unbatched(task, work.fidelity)
        if obstacle is not None:
            kind = Measurable if work.measured is not None else OneByOne
            self._note(f"{obstacle}: candidates are trained one at a time")
        rates = [fidelity_of(candidate, work).learning_rate for candidate in candidates]
        return kind(
            formulas,
            candidates[0].class_weights,
            task,
            work.fidelity,
            seeds,
            self.device,
            states,
            rates,
            training_seed(work, 0),
        )

    def _note(self, note: str) -> None:
        if note not in self.result.notes:
            self.result.notes.append(note)


@contextmanager
def _timed(result: Result, what: str) -> Iterator[None]:
    """Count the time of a block for the result."""
    started = time.perf_counter()
    try:
        yield
    finally:
        result.seconds[what] = result.seconds.get(what, 0.0) + time.perf_counter() - started


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _evaluations(candidate: Candidate, work: Work, outcome: Outcome, seconds: float) -> Iterator[Evaluation]:
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
