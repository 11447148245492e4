"""Comparing: the settings of every loss are tuned where that is asked for, then all are trained and measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.work import Candidate, Work, fidelity_of
from lossearch.primitives.errors import UserError, nearest, shown
from lossearch.results.findings.comparison import ComparisonTable
from lossearch.results.records import DIRECTIONS, Measurement
from lossearch.runs.named_loss import candidate_of, with_settings
from lossearch.runs.session import RunInterrupted, executor_for, require_data, required_path, running
from lossearch.runs.views import ComparisonView, SilentComparison
from lossearch.studies.checkpoints import Checkpoints
from lossearch.studies.comparison import (
    Comparison,
    ComparisonDirectory,
    load_comparison,
    replaced,
    validated_comparison,
)
from lossearch.studies.measuring import MeasurementRunner
from lossearch.studies.tuning import Tuned, tuned_losses


@dataclass
class Comparing:
    """One comparison in its directory, on an executor, watched by a view."""

    comparison: Comparison
    run: ComparisonDirectory
    executor: Executor
    view: ComparisonView

    def __post_init__(self) -> None:
        checkpoints = Checkpoints(self.run.path / "checkpoint")
        size = self.comparison.executor.cohort_size
        more = self.executor, self.view, self._note, None if size == "auto" else size
        self.trials = MeasurementRunner(self.run.trials, checkpoints, *more)
        self.finals = MeasurementRunner(self.run.store, checkpoints, *more)
        self._noted: set[tuple[str, str]] = set()

    def _note(self, task: str, note: str) -> None:
        """Log a note, once for each task."""
        if (task, note) not in self._noted:
            self._noted.add((task, note))
            self.run.log("cohort", task=task, note=note)

    def restore(self) -> None:
        """Take in what the directory has; parts that cannot be read are set aside, and their trainings done again."""
        for measured in (self.trials, self.finals):
            for kept in measured.restore():
                self.run.log("damaged part set aside", part=kept)

    def execute(self) -> list[Measurement]:
        """Tune, train and measure what is not known yet."""
        comparison = self.comparison
        losses = len(comparison.tasks) * len(comparison.all_losses())
        self.view.planned(losses * (comparison.seeds + comparison.trainings_of_tuning))
        works = [self._work(task) for task in comparison.tasks]
        self.finals.complete(works)
        wanted = {_training(each, work) for work in works for each in work.candidates}
        known = self.finals.recorder.known.values()  # also under seeds of an earlier call that asked for more
        found = (each for each in known if _of(each) in wanted and each.seed < comparison.seeds)
        return sorted(found, key=lambda each: comparison.tasks.index(each.task))

    def table(self, measurements: list[Measurement], measure: str | None = None) -> ComparisonTable:
        """The table that follows from measurements."""
        return ComparisonTable(measurements, self.comparison.baseline_name, measure)

    def tune(self) -> dict[str, list[Tuned]]:
        """Tune every loss on every task, and train no further."""
        comparison = self.comparison
        losses = len(comparison.tasks) * len(comparison.all_losses())
        self.view.planned(losses * comparison.trainings_of_tuning)
        return {task: self.tuned(task) for task in comparison.tasks}

    def _work(self, task: str) -> Work:
        """Every loss on a task, with its settings."""
        comparison = self.comparison
        return Work(
            tuple(self._candidates(task)),
            task,
            comparison.fidelity_of[task],
            comparison.seed,
            device=comparison.executor.device,
            data=comparison.data.get(task),
            measured=comparison.split,
            unhurried=True,
        )

    def _candidates(self, task: str) -> list[Candidate]:
        if self.comparison.tune:
            return [each.candidate for each in self.tuned(task)]
        given = self.comparison.settings.get(task, {})
        losses = self.comparison.all_losses()
        return [with_settings(text, given[text]) if text in given else candidate_of(text) for text in losses]

    def tuned(self, task: str) -> list[Tuned]:
        """Every loss with the settings that were best on the task's validation split."""
        found = tuned_losses(self.comparison, task, self.trials, self.run.path / "studies.journal")
        for each in found:
            self.run.log(
                "tuned",
                task=task,
                loss=each.candidate.called,
                formula=each.candidate.formula,
                learning_rate=each.candidate.learning_rate,
                value=each.value,
                trials=each.trials,
                pruned=each.pruned,
            )
        return found


def goes_on(path: Path, declared: Comparison, view: ComparisonView) -> bool:
    """Whether a directory holds this comparison; another one is set aside, and the view told of it."""
    kept = ComparisonDirectory.set_aside(path, declared)
    if kept is not None:
        view.warned(f"{path}: held a comparison of other losses or settings, which is now in {kept}. This one begins.")
    return (path / ComparisonDirectory.FILE).exists()


def _training(candidate: Candidate, work: Work) -> tuple[str, str, str, float]:
    """What tells one loss with its settings on a task from others."""
    return work.task, candidate.called, candidate.formula, fidelity_of(candidate, work).learning_rate


def _of(measurement: Measurement) -> tuple[str, str, str, float | None]:
    return measurement.task, measurement.loss, measurement.formula, measurement.learning_rate


# --- Compares losses: the same seeds, splits and batches for each, held-out data, intervals, corrected p-values.


class ComparisonInterrupted(RunInterrupted):
    """The comparison was stopped from outside; it can be resumed."""


@dataclass(frozen=True)
class Compared:
    """A finished comparison: its directory and its table."""

    path: Path
    table: ComparisonTable


def compare(
    comparison: str | Path | Comparison | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    executor: str | None = None,
    ray_address: str | None = None,
    measure: str | None = None,
    view: ComparisonView | None = None,
    **overrides: Any,
) -> Compared:
    """Train every loss of a comparison on every task under the same seeds, and compare them with its baseline.

    ``comparison`` is a TOML file or the name of a shipped one; ``overrides`` are keys of a comparison, such as
    ``tasks`` and ``losses``, and replace those of the file; ``fidelity`` among them is for every task. ``run_dir`` is
    where measurements are kept (default: ``runs/<name>-<time>``) and with ``resume`` the directory to go on in.
    ``executor`` is ``ray`` or ``inline``; ``ray_address`` is ``auto`` or ``host:port``. ``measure`` is what the table
    is about (default: each task's metric).

    Raises ExperimentError, RunDirectoryError, ClusterUnreachable, and ComparisonInterrupted on Ctrl-C.
    """
    if measure is not None and measure not in DIRECTIONS:
        raise UserError(f"Unknown measure {shown(measure)!r}{nearest(measure, DIRECTIONS)}")
    declared = _declared(comparison, overrides)
    path = required_path(ComparisonDirectory, declared, run_dir, resume)
    require_data(declared, declared.tasks, test=declared.split == "test")
    workers = executor_for(declared.executor, executor, ray_address)  # before a directory is made for nothing
    try:
        with running(ComparisonDirectory, declared, path, resume, ComparisonInterrupted) as run:
            return _execute(Comparing(declared, run, workers, view or SilentComparison()), resume, measure)
    finally:
        workers.close()


def _declared(comparison: str | Path | Comparison | None, overrides: dict[str, Any]) -> Comparison:
    if comparison is None:
        return validated_comparison({"name": "compare", **overrides}, "compare")
    if isinstance(comparison, Comparison):
        return validated_comparison(replaced(comparison.model_dump(), overrides), comparison.name)
    return load_comparison(str(comparison), **overrides)


def _execute(comparing: Comparing, resume: bool, measure: str | None) -> Compared:
    run, view = comparing.run, comparing.view
    comparing.restore()
    view.started(run.path)
    run.log(
        "resumed" if resume else "started", known=len(comparing.finals.recorder.known), slots=comparing.executor.slots
    )
    measurements = comparing.execute()
    table = comparing.table(measurements, measure)
    run.save_table(table)
    run.log("ended", measurements=len(measurements), split=comparing.comparison.split)
    return Compared(run.path, table)
