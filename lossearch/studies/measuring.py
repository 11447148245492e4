"""Measure work: read what is recorded, and train and record the rest.

Invariant: a recorded measurement stays and is not repeated. The result of a training depends on its loss, task,
fidelity and seed alone. So a study that was stopped anywhere continues as if it had not been.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, Self

from lossearch.evaluators.cohort.cohort import find_batching_obstacle
from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.measuring.measuring import measurement_id
from lossearch.evaluators.work import Candidate, Work
from lossearch.results.records import Measurement
from lossearch.results.storage.recorder import Recorder
from lossearch.results.storage.store import RecordStore
from lossearch.runs.declaration import ExecutorSettings
from lossearch.runs.directory import Directory
from lossearch.runs.views import View
from lossearch.studies.checkpoints import Checkpoints
from lossearch.studies.staged_training import StagedTraining, num_trainings
from lossearch.studies.step_progress import StepProgress


class MeasurementRunner:
    """The measurements of a store, and the executor that adds to them.

    ``checkpoints`` keep long trainings. ``cohort_size`` is the number of candidates that are trained together; None
    lets the workers decide. The ``view`` shows trainings, ``note`` logs a remark about a task.
    """

    def __init__(
        self,
        store: RecordStore[Measurement],
        checkpoints: Checkpoints,
        executor: Executor,
        view: View,
        note: Callable[[str, str], None],
        cohort_size: int | None = None,
    ) -> None:
        self._store = store
        self.recorder = Recorder(store, lambda record: record.measurement_id)
        self._checkpoints, self._executor, self._cohort_size = checkpoints, executor, cohort_size
        self._view, self._note = view, note
        self._progress = StepProgress(executor, view)

    @classmethod
    def of_run(
        cls, run: Directory[Any, Measurement], settings: ExecutorSettings, executor: Executor, view: View
    ) -> Self:
        """Return the measurements of a run's directory, which keeps the checkpoints and the notes as well."""

        def note(task: str, text: str) -> None:
            run.log("cohort", task=task, note=text)

        size = None if settings.cohort_size == "auto" else settings.cohort_size
        return cls(run.store, Checkpoints(run.path / "checkpoint"), executor, view, note, size)

    def restore(self) -> list[str]:
        """Read what is recorded. Set unreadable parts aside, and return their new names."""
        damaged = self.recorder.restore()
        foreign = self._store.describe_foreign()
        if foreign is not None:
            self._view.warned(foreign)
        for kept, damage in damaged:
            self._view.warned(f"{damage.reason}. Set aside as {kept}; its trainings are done again.")
        return [kept for kept, _ in damaged]

    def of(self, candidate: Candidate, work: Work) -> list[Measurement] | None:
        """Return the task's metric for a candidate under every seed of the work; None if one is not known yet."""
        metric = work.get_task().metric.name
        records = [self.recorder.known.get(measurement_id(candidate, work, seed, metric)) for seed in work.seeds]
        return None if None in records else [record for record in records if record is not None]

    def leave_out(self, trainings: int, task: str) -> None:
        """Tell the view that planned trainings on a task are not needed."""
        self._view.recalled(trainings, task)

    def complete(self, works: Sequence[Work]) -> None:
        """Train and measure what is missing. A stop loses no measurement."""
        parts = iter([part for work in works for part in self._find_missing_parts(work)])
        running: list[StagedTraining] = []
        # One part more than slots keeps workers busy. Parts that have not begun need no checkpoint.
        width = self._executor.slots + (self._executor.slots > 1)
        self._progress.listen()
        try:
            while running := [*running, *map(self._begin, islice(parts, width - len(running)))]:
                self._executor.wait([training.pending for training in running], timeout=1.0)
                for news in self._executor.news():
                    if news.is_warning:
                        self._view.warned(news.text)
                for training in running:
                    if training.pending.done():
                        self._advance(training)
                running = [training for training in running if not training.is_finished]
        finally:
            self.recorder.save()

    def _find_missing_parts(self, work: Work) -> Iterator[Work]:
        """Yield missing parts of the work: cohorts, or single candidates and seeds if cohorts are impossible."""
        if find_batching_obstacle(work.get_task(), work.fidelity) is None:
            parts = list(in_cohorts(self._find_missing(work), self._executor, self._cohort_size))
        else:
            one_seed = work.fidelity.model_copy(update={"seeds": 1})
            by_seed = [self._find_missing(replace(work, fidelity=one_seed, first_seed=seed)) for seed in work.seeds]
            parts = [replace(part, candidates=(candidate,)) for part in by_seed for candidate in part.candidates]
        self._view.recalled(num_trainings(work) - sum(map(num_trainings, parts)), work.task)
        yield from parts

    def _find_missing(self, work: Work) -> Work:
        missing = (candidate for candidate in work.candidates if self.of(candidate, work) is None)
        return replace(work, candidates=tuple(missing))

    def _begin(self, part: Work) -> StagedTraining:
        training = StagedTraining(part, self._executor, self._checkpoints, self._progress)
        self._view.recalled(num_trainings(part) * training.share, part.task)
        return training

    def _advance(self, training: StagedTraining) -> None:
        pending = training.pending
        self.recorder.record(training.advance())
        has_ended = training.is_finished and training.work.fidelity.epoch is not None
        if has_ended or self.recorder.is_due:
            self.recorder.save()
        if has_ended:  # and is recorded
            training.forget()
        for text in pending.notes():
            self._note(training.work.task, text)


def in_cohorts(work: Work, executor: Executor, declared_size: int | None = None) -> Iterator[Work]:
    """Divide work into cohorts with one kind of class weights: of the declared size, or such that no worker idles."""
    by_kind = sorted(work.candidates, key=lambda candidate: candidate.class_weights or "")
    share = math.ceil(len(by_kind) / executor.slots)
    size = declared_size or max(1, min(share, executor.largest_cohort // work.fidelity.seeds))
    for _, group in groupby(by_kind, key=lambda candidate: candidate.class_weights):
        of_kind = list(group)
        for start in range(0, len(of_kind), size):
            yield replace(work, candidates=tuple(of_kind[start : start + size]))
