"""Courses: work that an executor does in stages, an epoch each, saved after each where its training is long.

Invariant: a training that goes on from where it was saved equals one that was never stopped.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from evaluators.executors import Executor
from evaluators.measuring import measurement_id, not_measured
from evaluators.work import Candidate, Work, evaluation_id
from lossearch.checkpoints import Checkpoints
from results.records import Evaluation, Measurement, digest


class Course:
    """One piece of work on its way to the end; a candidate that fails at a stage leaves it."""

    def __init__(self, work: Work, executor: Executor, checkpoints: Checkpoints) -> None:
        self.work, self._executor, self._checkpoints = work, executor, checkpoints
        self.name = digest(*(evaluation_id(each, work, seed) for each in work.candidates for seed in work.seeds))
        states = checkpoints.load(self.name) if work.fidelity.epoch else {}
        states = states if states.keys() == {each.key for each in work.candidates} else {}
        self.step = next(iter(states.values())).step if states else 0
        self.is_through = False
        self._hand_out([states] if states else [])

    @property
    def share(self) -> float:
        """How much of the training is done, in [0, 1]."""
        return self.step / self.work.fidelity.steps

    def advance(self) -> list[Measurement]:
        """Take in a stage that is done, and hand out the next one; returns what was measured or failed in it."""
        finished, self.step = self.pending, self.pending.work.until
        self.is_through = self.step == self.work.fidelity.steps
        if self.is_through:
            found = list(finished.measurements())
            found += _unmeasured(self.work, self.work.candidates, finished.result(), found)
        else:
            failed = _failed(finished.work, finished.result())
            found = list(_unmeasured(finished.work, failed, finished.result(), (), self.work))
            self.work = replace(
                self.work, candidates=tuple(each for each in self.work.candidates if each not in failed)
            )
            self.is_through = not self.work.candidates
        if self.is_through:
            if self.work.fidelity.epoch:
                self._checkpoints.forget(self.name)
        else:
            self._checkpoints.save(self.name, finished.fetched())
            self._hand_out(finished.states())
        return found

    def _hand_out(self, states: Iterable[Any]) -> None:
        fidelity = self.work.fidelity
        stage = min(self.step + (fidelity.epoch or fidelity.steps), fidelity.steps)
        part = self.work if stage == fidelity.steps else replace(self.work, stage=stage, measured=None)
        self.pending = self._executor.submit(part, states)


def _failed(work: Work, evaluations: Iterable[Evaluation]) -> list[Candidate]:
    """Candidates of which a training failed."""
    reasons = {each.evaluation_id for each in evaluations if each.reason}
    return [each for each in work.candidates if any(evaluation_id(each, work, seed) in reasons for seed in work.seeds)]


def _unmeasured(
    work: Work,
    candidates: Iterable[Candidate],
    evaluations: Iterable[Evaluation],
    found: Sequence[Measurement],
    whole: Work | None = None,
) -> Iterator[Measurement]:
    """Records of trainings that left no measurement: they failed, their worker was stopped, or they never began.

    ``evaluations`` are of the work, a stage of the ``whole``.
    """
    whole = whole or work
    reasons = {each.evaluation_id: each.reason for each in evaluations if each.reason}
    measured = {each.measurement_id for each in found}
    metric = whole.on.metric.name
    for candidate in candidates:
        own = (reasons.get(evaluation_id(candidate, work, seed)) for seed in work.seeds)
        reason = next((each for each in own if each), "no result came back")
        for seed in whole.seeds:
            if measurement_id(candidate, whole, seed, metric) not in measured:
                yield not_measured(candidate, whole, seed, reason)
