"""Courses: work that an executor does in stages, an epoch each, saved after each where its training is long.

Invariant: a training that goes on from where it was saved equals one that was never stopped. Each candidate is saved by
itself, so that it goes on whatever else is trained beside it then.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lossearch.checkpoints import Checkpoints
from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.measuring.measuring import measurement_id, not_measured
from lossearch.evaluators.work import Candidate, Work, evaluation_id
from lossearch.results.records import Evaluation, Measurement, digest


class Course:
    """One piece of work on its way to the end; a candidate that fails at a stage leaves it."""

    def __init__(self, work: Work, executor: Executor, checkpoints: Checkpoints) -> None:
        self.whole = self.work = work
        self._executor, self._checkpoints = executor, checkpoints
        found = [checkpoints.load(self._name(each)) for each in work.candidates] if work.fidelity.epoch else []
        states = {each.key: state for each, state in zip(work.candidates, found, strict=False) if state is not None}
        self.step = max((state.step for state in states.values()), default=0)  # those behind catch up
        self.is_through = False
        self._hand_out([states] if states else [])

    @property
    def share(self) -> float:
        """How much of the training is done, in [0, 1]."""
        return self.step / self.work.fidelity.steps

    def advance(self) -> list[Measurement]:
        """Take in a stage that is done, and hand out the next one; returns what was measured or failed in it."""
        finished, self.step = self.pending, self.pending.work.until
        if self.step == self.work.fidelity.steps:
            self.is_through = True
            measured = list(finished.measurements())
            return [*measured, *_unmeasured(self.work, self.work.candidates, finished.result(), measured)]
        failed = _failed(finished.work, finished.result())
        found = list(_unmeasured(self.work, failed, finished.result(), (), finished.work))
        self.work = replace(self.work, candidates=tuple(each for each in self.work.candidates if each not in failed))
        self.is_through = not self.work.candidates
        if not self.is_through:
            states = finished.fetched()
            for each in self.work.candidates:
                if each.key in states:
                    self._checkpoints.save(self._name(each), states[each.key])
            self._hand_out(finished.states())
        return found

    def forget(self) -> None:
        """Remove what was saved of a course that is through and recorded."""
        if self.whole.fidelity.epoch:
            for each in self.whole.candidates:
                self._checkpoints.forget(self._name(each))

    def _name(self, candidate: Candidate) -> str:
        """Of a candidate's training under the seeds."""
        ids = (evaluation_id(candidate, self.whole, seed) for seed in self.whole.seeds)
        return digest(candidate.name, *ids)

    def _hand_out(self, states: Iterable[Any]) -> None:
        fidelity = self.work.fidelity
        stage = min(self.step + (fidelity.epoch or fidelity.steps), fidelity.steps)
        part = self.work if stage == fidelity.steps else replace(self.work, stage=stage)
        self.pending = self._executor.submit(part, states)


def _failed(work: Work, evaluations: Iterable[Evaluation]) -> list[Candidate]:
    """Candidates of which a training failed."""
    failed = {each.evaluation_id for each in evaluations if each.reason}
    return [each for each in work.candidates if any(evaluation_id(each, work, seed) in failed for seed in work.seeds)]


def _unmeasured(
    whole: Work,
    candidates: Iterable[Candidate],
    evaluations: Iterable[Evaluation],
    found: Sequence[Measurement],
    stage: Work | None = None,
) -> Iterator[Measurement]:
    """Records of trainings that left no measurement: they failed, their worker was stopped, or they never began.

    ``evaluations`` are of a stage of the whole work, or of all of it where none is given.
    """
    work = stage or whole
    reasons = {each.evaluation_id: each.reason for each in evaluations if each.reason}
    measured = {each.measurement_id for each in found}
    metric = whole.on.metric.name
    for candidate in candidates:
        own = (reasons.get(evaluation_id(candidate, work, seed)) for seed in work.seeds)
        reason = next((each for each in own if each), "no result came back")
        for seed in whole.seeds:
            if measurement_id(candidate, whole, seed, metric) not in measured:
                yield not_measured(candidate, whole, seed, reason)
