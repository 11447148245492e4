"""Measured: what became of work, recalled where it is recorded, else trained now and recorded.

Invariant: what is recorded stays and is not measured again; what a training is worth depends on its loss, task,
fidelity and seed alone. So what was stopped anywhere goes on as if it had not been.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, Self

from lossearch.evaluators.cohort.cohort import find_batching_obstacle
from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.measuring.measuring import measurement_id, not_measured
from lossearch.evaluators.work import Candidate, Work, evaluation_id
from lossearch.results.records import Evaluation, Measurement, digest
from lossearch.results.storage.recorder import Recorder
from lossearch.results.storage.store import RecordStore
from lossearch.runs.declaration import ExecutorSettings
from lossearch.runs.directory import Directory
from lossearch.runs.views import ComparisonView
from lossearch.studies.checkpoints import Checkpoints

# --- Courses: work that an executor does in stages, an epoch each, saved after each where its training is long.
#
# Invariant: a training that goes on from where it was saved equals one that was never stopped. Each candidate is
# saved by itself, so that it goes on whatever else is trained beside it then.


class StagedTraining:
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
    metric = whole.get_task().metric.name
    for candidate in candidates:
        own = (reasons.get(evaluation_id(candidate, work, seed)) for seed in work.seeds)
        reason = next((each for each in own if each), "no result came back")
        for seed in whole.seeds:
            if measurement_id(candidate, whole, seed, metric) not in measured:
                yield not_measured(candidate, whole, seed, reason)


class MeasurementRunner:
    """The measurements of a store, and the executor that makes more of them.

    ``checkpoints`` keep long trainings. ``cohort_size`` is how many candidates are trained together, or as many as suit
    the workers. ``view`` is told of trainings done, or shares of them, on a task, ``noted`` of what the log should
    tell.
    """

    def __init__(
        self,
        store: RecordStore[Measurement],
        checkpoints: Checkpoints,
        executor: Executor,
        view: ComparisonView,
        noted: Callable[[str, str], None],
        cohort_size: int | None = None,
    ) -> None:
        self.recorder = Recorder(store, lambda each: each.measurement_id)
        self._checkpoints, self._executor, self._cohort_size = checkpoints, executor, cohort_size
        self._view, self._noted = view, noted

    @classmethod
    def of_run(
        cls, run: Directory[Any, Measurement], settings: ExecutorSettings, executor: Executor, view: ComparisonView
    ) -> Self:
        """The measurements of a run's directory, which keeps the checkpoints and the notes as well."""

        def noted(task: str, note: str) -> None:
            run.log("cohort", task=task, note=note)

        size = None if settings.cohort_size == "auto" else settings.cohort_size
        return cls(run.store, Checkpoints(run.path / "checkpoint"), executor, view, noted, size)

    def restore(self) -> list[str]:
        """Take in what is recorded; parts that cannot be read are set aside, under the names that are returned."""
        found = self.recorder.restore()
        for kept, damage in found:
            self._view.warned(f"{damage.reason}. Set aside as {kept}; its trainings are done again.")
        return [kept for kept, _ in found]

    def of(self, candidate: Candidate, work: Work) -> list[Measurement] | None:
        """The task's own metric of a candidate under every seed of the work; None where one is not known yet."""
        metric = work.get_task().metric.name
        found = [self.recorder.known.get(measurement_id(candidate, work, seed, metric)) for seed in work.seeds]
        return None if None in found else [each for each in found if each is not None]

    def leave_out(self, trainings: int, task: str) -> None:
        """So many trainings that were planned on a task are not needed."""
        self._view.recalled(trainings, task)

    def complete(self, works: Sequence[Work]) -> None:
        """Train and measure what is missing. Whatever stops it, what was measured is recorded."""
        parts = iter([part for work in works for part in self._parts(work)])
        courses: list[StagedTraining] = []
        wide = self._executor.slots + (self._executor.slots > 1)  # what waits is not begun, and needs no checkpoint
        try:
            while courses := [*courses, *map(self._begun, islice(parts, wide - len(courses)))]:
                self._executor.wait([each.pending for each in courses], timeout=1.0)
                for each in courses:
                    if each.pending.done():
                        self._advance(each)
                courses = [each for each in courses if not each.is_through]
        finally:
            self.recorder.save()

    def _parts(self, work: Work) -> Iterator[Work]:
        """What is missing of the work, in cohorts; by single candidates and seeds where there are no cohorts."""
        if find_batching_obstacle(work.get_task(), work.fidelity) is None:
            parts = list(in_cohorts(self._missing(work), self._executor, self._cohort_size))
        else:
            alone = work.fidelity.model_copy(update={"seeds": 1})
            by_seed = [self._missing(replace(work, fidelity=alone, first_seed=seed)) for seed in work.seeds]
            parts = [replace(each, candidates=(one,)) for each in by_seed for one in each.candidates]
        self._view.recalled(trainings(work) - sum(map(trainings, parts)), work.task)
        yield from parts

    def _missing(self, work: Work) -> Work:
        return replace(work, candidates=tuple(each for each in work.candidates if self.of(each, work) is None))

    def _begun(self, part: Work) -> StagedTraining:
        course = StagedTraining(part, self._executor, self._checkpoints)
        self._view.recalled(trainings(part) * course.share, part.task)
        return course

    def _advance(self, course: StagedTraining) -> None:
        before, pending, count = course.share, course.pending, trainings(course.work)
        self.recorder.record(course.advance())
        ended = course.is_through and course.work.fidelity.epoch is not None
        if ended or self.recorder.is_due:
            self.recorder.save()
        if ended:  # and recorded
            course.forget()
        for note in pending.notes():
            self._noted(course.work.task, note)
        gone = count - trainings(course.work)  # candidates that failed on the way are done
        self._view.moved(trainings(course.work) * (course.share - before) + gone * (1.0 - before), course.work.task)


def in_cohorts(work: Work, executor: Executor, declared: int | None = None) -> Iterator[Work]:
    """The work in cohorts of one kind of class weights: of the declared size, or so that no worker is idle."""
    by_kind = sorted(work.candidates, key=lambda each: each.class_weights or "")
    share = math.ceil(len(by_kind) / executor.slots)
    size = declared or max(1, min(share, executor.largest_cohort // work.fidelity.seeds))
    for _, group in groupby(by_kind, key=lambda each: each.class_weights):
        alike = list(group)
        for start in range(0, len(alike), size):
            yield replace(work, candidates=tuple(alike[start : start + size]))


def trainings(work: Work) -> int:
    """How many networks the work trains."""
    return len(work.candidates) * work.fidelity.seeds
