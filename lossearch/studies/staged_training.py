"""Staged training: an executor trains a piece of work epoch by epoch, and its state is saved after each.

Invariant: a training that continues from a saved state equals one that was never stopped. Each candidate is saved by
itself, so it continues whatever else is trained with it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.measuring.measuring import measurement_id, not_measured
from lossearch.evaluators.work import Candidate, Work, evaluation_id
from lossearch.results.records import Evaluation, Measurement, digest
from lossearch.studies.checkpoints import Checkpoints
from lossearch.studies.step_progress import StepProgress


class StagedTraining:
    """One piece of work on its way through its stages. A candidate that fails at a stage leaves it."""

    def __init__(self, work: Work, executor: Executor, checkpoints: Checkpoints, progress: StepProgress) -> None:
        self.whole = self.work = work
        self._executor, self._checkpoints, self._progress = executor, checkpoints, progress
        saved = [checkpoints.load(self._make_name(candidate)) for candidate in work.candidates if work.fidelity.epoch]
        pairs = zip(work.candidates, saved, strict=False)
        states = {candidate.key: state for candidate, state in pairs if state is not None}
        self.step = max((state.step for state in states.values()), default=0)  # those behind catch up
        self.is_finished = False
        self._submit_stage([states] if states else [])

    @property
    def share(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        return self.step / self.work.fidelity.steps

    def advance(self) -> list[Measurement]:
        """Take in a finished stage and submit the next one; return what was measured or failed in it."""
        share_before = self.share
        finished, self.step = self.pending, self.pending.work.until
        if self.step == self.work.fidelity.steps:
            self.is_finished = True
            measured = list(finished.measurements())
            self._progress.end(self, num_trainings(self.work) * (1.0 - share_before))
            return [*measured, *_record_unmeasured(self.work, self.work.candidates, finished.result(), measured)]
        failed = _find_failed(finished.work, finished.result())
        records = list(_record_unmeasured(self.work, failed, finished.result(), (), finished.work))
        going_on = tuple(candidate for candidate in self.work.candidates if candidate not in failed)
        num_failed = len(failed) * self.work.fidelity.seeds  # a candidate that fails on the way is done
        self.work = replace(self.work, candidates=going_on)
        num_going_on = num_trainings(self.work)
        self._progress.end(self, num_going_on * (self.share - share_before) + num_failed * (1.0 - share_before))
        self.is_finished = not going_on
        if not self.is_finished:
            states = finished.fetched()
            for candidate in going_on:
                if candidate.key in states:
                    self._checkpoints.save(self._make_name(candidate), states[candidate.key])
            self._submit_stage(finished.states())
        return records

    def forget(self) -> None:
        """Remove the saved states of a training that is finished and recorded."""
        if self.whole.fidelity.epoch:
            for candidate in self.whole.candidates:
                self._checkpoints.forget(self._make_name(candidate))

    def _make_name(self, candidate: Candidate) -> str:
        """Return the name of the saved state of a candidate under the work's seeds."""
        ids = (evaluation_id(candidate, self.whole, seed) for seed in self.whole.seeds)
        return digest(candidate.name, *ids)

    def _submit_stage(self, states: Iterable[Any]) -> None:
        fidelity = self.work.fidelity
        stage = min(self.step + (fidelity.epoch or fidelity.steps), fidelity.steps)
        part = self.work if stage == fidelity.steps else replace(self.work, stage=stage)
        share = (stage - self.step) / fidelity.steps
        self._progress.begin(self, part.task, num_trainings(part) * share, fidelity.steps)  # inline it trains here
        self.pending = self._executor.submit(part, states)


def num_trainings(work: Work) -> int:
    """Return the number of networks that the work trains."""
    return len(work.candidates) * work.fidelity.seeds


def _find_failed(work: Work, evaluations: Iterable[Evaluation]) -> list[Candidate]:
    """List the candidates with a training that failed."""
    failed_ids = {evaluation.evaluation_id for evaluation in evaluations if evaluation.reason}
    return [
        candidate
        for candidate in work.candidates
        if any(evaluation_id(candidate, work, seed) in failed_ids for seed in work.seeds)
    ]


def _record_unmeasured(
    whole: Work,
    candidates: Iterable[Candidate],
    evaluations: Iterable[Evaluation],
    measured: Sequence[Measurement],
    stage: Work | None = None,
) -> Iterator[Measurement]:
    """Record trainings without a measurement: they failed, their worker was stopped, or they never began.

    ``evaluations`` belong to a ``stage`` of the work; without one, to the whole work.
    """
    work = stage or whole
    reasons = {evaluation.evaluation_id: evaluation.reason for evaluation in evaluations if evaluation.reason}
    measured_ids = {record.measurement_id for record in measured}
    metric = whole.get_task().metric.name
    for candidate in candidates:
        of_seeds = (reasons.get(evaluation_id(candidate, work, seed)) for seed in work.seeds)
        reason = next((text for text in of_seeds if text), "no result came back")
        for seed in whole.seeds:
            if measurement_id(candidate, whole, seed, metric) not in measured_ids:
                yield not_measured(candidate, whole, seed, reason)
