"""Compare losses under the same seeds, splits and batches, on held-out data, with intervals and p-values.

If the comparison asks for it, the settings of every loss are tuned first.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossearch.engine.warning_signs import warn_of_inputs, warn_of_untrained
from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.measuring.measures import NAMES
from lossearch.evaluators.work import Candidate, Work, fidelity_of
from lossearch.primitives.arguments import (
    plain_value,
    refuse_unknown_arguments,
    require_choice,
    require_distinct_list,
    require_flag,
    require_path,
)
from lossearch.primitives.errors import Argument, UserError, nearest
from lossearch.results.findings.comparison import ComparisonTable
from lossearch.results.records import DIRECTIONS, Measurement
from lossearch.results.storage.logged_warnings import EVENT as WARNING
from lossearch.runs.declaration import ARGUMENTS
from lossearch.runs.named_loss import candidate_of, with_settings
from lossearch.runs.session import require_data, require_workers, required_path
from lossearch.runs.views import View, require_view
from lossearch.studies.checkpoints import Checkpoints
from lossearch.studies.comparison import (
    Comparison,
    ComparisonDirectory,
    load_comparison,
    replaced,
    validated_comparison,
)
from lossearch.studies.measuring import MeasurementRunner
from lossearch.studies.runner import open_workers, run_study
from lossearch.studies.tuning import Tuned, tuned_losses

#: Arguments of a comparison that are no keys of its file.
_ARGUMENTS = ("comparison", "run_dir", "resume", "executor", "ray_address", "measure", "view", "fidelity")


@dataclass(frozen=True)
class ComparedLosses:
    """A finished comparison: its directory and its table."""

    path: Path
    table: ComparisonTable


@refuse_unknown_arguments
def compare(
    comparison: str | Path | Comparison | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    executor: str | None = None,
    ray_address: str | None = None,
    measure: str | None = None,
    view: View | None = None,
    **overrides: Any,
) -> ComparedLosses:
    """Train every loss of a comparison on every task under the same seeds, and compare them with its baseline.

    ``comparison`` is a TOML file or the name of a shipped one. ``overrides`` are keys of a comparison, such as
    ``tasks`` and ``losses``, and replace those of the file; ``fidelity`` among them applies to every task. A task may
    be the path of a folder of images or of an ``.npz`` file. ``run_dir`` is where measurements are kept (default:
    ``runs/<name>-<time>``); ``resume`` continues the comparison in it.
    ``executor`` is ``ray`` or ``inline``; ``ray_address`` is ``auto`` or ``host:port``. ``measure`` is the measure of
    the table (default: each task's metric).

    Raises ExperimentError, RunDirectoryError, ClusterUnreachable, and StudyInterrupted on Ctrl-C.
    """
    require_view(view)
    require_workers(executor, ray_address)
    resume = require_flag("resume", resume)
    if measure is not None:
        measure = require_choice("measure", measure, DIRECTIONS)
    declared = _declared(comparison, overrides)
    _require_measure(declared, measure)
    if not resume:
        require_distinct_list("losses", list(declared.losses), "names or formulas")
    path = required_path(ComparisonDirectory, declared, run_dir, resume)
    require_data(declared, declared.tasks, test=declared.split == "test")
    with open_workers(declared.executor, executor, ray_address) as workers:

        def measure_losses(run: ComparisonDirectory, view: View) -> ComparedLosses:
            study = ComparisonStudy(declared, run, workers, view)
            study.restore()
            known = len(study.measured.recorder.known)
            run.log("resumed" if resume else "started", known=known, slots=workers.slots)
            _show(warn_of_inputs(declared, declared.tasks), run, view)
            measurements = study.measure()
            _show(_find_untrained(declared, measurements), run, view)
            table = study.table(measurements, measure)
            run.save_table(table)
            run.log("ended", measurements=len(measurements), split=declared.split)
            return ComparedLosses(run.path, table)

        return run_study("comparison", ComparisonDirectory, declared, path, measure_losses, view, resume=resume)


def _find_untrained(comparison: Comparison, measurements: Iterable[Measurement]) -> Iterator[str]:
    """Yield a warning for each task where the baseline failed, or learned nothing."""
    baseline = [record for record in measurements if record.loss == comparison.baseline_name]
    for task in comparison.tasks:
        metric = comparison.task_named(task).metric.name
        records = [record for record in baseline if record.task == task]
        failure = next((record.reason for record in records if record.value is None), None)
        values = [record.value for record in records if record.measure == metric and record.value is not None]
        yield from warn_of_untrained(comparison, task, comparison.baseline_name, failure, values, comparison.split)


def _show(messages: Iterable[str], run: ComparisonDirectory, view: View) -> None:
    """Show and log warnings."""
    for message in messages:
        view.warned(message)
        run.log(WARNING, message=message)


def _require_measure(declared: Comparison, measure: str | None) -> None:
    """Raise UserError for a measure that is recorded on none of the tasks."""
    metrics = {name: declared.task_named(name).metric.name for name in declared.tasks}
    recorded = dict.fromkeys(known for metric in metrics.values() for known in NAMES[metric])
    if measure is not None and measure not in recorded:
        tasks = " and ".join(declared.tasks)
        raise UserError(
            Argument("measure"),
            f": expected a measure of {tasks}, one of {', '.join(recorded)}, got {measure!r}.",
        )


def _declared(comparison: str | Path | Comparison | None, overrides: dict[str, Any]) -> Comparison:
    """Read the comparison, with these keys replaced unless they are None. Raises UserError for an unknown key."""
    for key in overrides:
        if key not in Comparison.model_fields and key != "fidelity":
            raise UserError(
                Argument(key), f": unknown key of a comparison{nearest(key, [*Comparison.model_fields, *_ARGUMENTS])}"
            )
    for key, what in (("tasks", "names or paths of tasks"), ("losses", "names or formulas")):
        if overrides.get(key) is not None:
            require_distinct_list(key, overrides[key], what, least=1)
    plain = {key: plain_value(value) for key, value in overrides.items()}
    if isinstance(overrides.get("tasks"), list | tuple):
        plain["tasks"] = list(overrides["tasks"])  # paths stay paths
    if isinstance(comparison, Comparison):
        return validated_comparison(replaced(comparison.model_dump(), plain), ARGUMENTS)
    if comparison is not None:
        path = require_path("comparison", comparison, "a TOML file or its name")
        return load_comparison(str(path), **plain)
    for key in ("tasks", "losses"):
        if overrides.get(key) is None:
            raise UserError(
                f"Expected a comparison, or tasks and losses, got no {key}. Give ", Argument(key, "[...]"), "."
            )
    return validated_comparison(replaced({"name": "compare"}, plain), ARGUMENTS)


@dataclass
class ComparisonStudy:
    """Tunes, trains and measures the losses of a comparison, and keeps everything in its directory."""

    comparison: Comparison
    run: ComparisonDirectory
    executor: Executor
    view: View

    def __post_init__(self) -> None:
        checkpoints = Checkpoints(self.run.path / "checkpoint")
        size = self.comparison.executor.cohort_size
        shared = checkpoints, self.executor, self.view, self._note, None if size == "auto" else size
        self.trials = MeasurementRunner(self.run.trials, *shared)
        self.measured = MeasurementRunner(self.run.store, *shared)
        self._noted: set[tuple[str, str]] = set()

    def _note(self, task: str, note: str) -> None:
        """Log a note once for each task."""
        if (task, note) not in self._noted:
            self._noted.add((task, note))
            self.run.log("cohort", task=task, note=note)

    def restore(self) -> None:
        """Read the measurements of the directory. Set aside parts that cannot be read; their trainings are repeated."""
        for measurements in (self.trials, self.measured):
            for part in measurements.restore():
                self.run.log("damaged part set aside", part=part)

    def measure(self) -> list[Measurement]:
        """Tune, train and measure what is not known yet; return all measurements, task after task."""
        comparison = self.comparison
        pairs = len(comparison.tasks) * len(comparison.all_losses())
        self.view.planned(pairs * (comparison.seeds + comparison.trainings_of_tuning))
        works = [self._make_work(task) for task in comparison.tasks]
        self.measured.complete(works)
        trainings = {_identify_training(candidate, work) for work in works for candidate in work.candidates}
        measurements = [
            record
            for record in self.measured.recorder.known.values()
            # an earlier call may have asked for more seeds
            if _identify_training_of(record) in trainings and record.seed < comparison.seeds
        ]
        return sorted(measurements, key=lambda record: comparison.tasks.index(record.task))

    def table(self, measurements: list[Measurement], measure: str | None = None) -> ComparisonTable:
        """Return the table of the measurements: of one measure, or of each task's metric."""
        return ComparisonTable(measurements, self.comparison.baseline_name, measure)

    def tune(self) -> dict[str, list[Tuned]]:
        """Tune every loss on every task, and measure nothing further."""
        comparison = self.comparison
        pairs = len(comparison.tasks) * len(comparison.all_losses())
        self.view.planned(pairs * comparison.trainings_of_tuning)
        return {task: self._tune_on(task) for task in comparison.tasks}

    def _tune_on(self, task: str) -> list[Tuned]:
        """Find for every loss the settings that are best on the task's validation split."""
        losses = tuned_losses(self.comparison, task, self.trials, self.run.path / "studies.journal")
        for tuned in losses:
            self.run.log(
                "tuned",
                task=task,
                loss=tuned.candidate.called,
                formula=tuned.candidate.formula,
                learning_rate=tuned.candidate.learning_rate,
                value=tuned.value,
                trials=tuned.trials,
                pruned=tuned.pruned,
            )
        return losses

    def _make_work(self, task: str) -> Work:
        """Create the work that trains every loss on a task with its settings."""
        return self.comparison.work(task, self._make_candidates(task), measured=self.comparison.split)

    def _make_candidates(self, task: str) -> list[Candidate]:
        if self.comparison.tune:
            return [tuned.candidate for tuned in self._tune_on(task)]
        given = self.comparison.settings.get(task, {})
        losses = self.comparison.all_losses()
        return [with_settings(text, given[text]) if text in given else candidate_of(text) for text in losses]


def set_aside_other(path: Path, declared: Comparison, view: View | None) -> None:
    """Rename a directory that holds another comparison than ``declared``, and say so in the view."""
    kept = ComparisonDirectory.set_aside(path, declared)
    if kept is not None and view is not None:
        view.warned(f"{path}: held other losses or settings. They are now in {kept}; a new start is made.")


def _identify_training(candidate: Candidate, work: Work) -> tuple[str, str, str, float | None]:
    """Return task, name, formula and learning rate: together they identify a loss with its settings."""
    return work.task, candidate.called, candidate.formula, fidelity_of(candidate, work).learning_rate


def _identify_training_of(measurement: Measurement) -> tuple[str, str, str, float | None]:
    """Return the same four of a record."""
    return measurement.task, measurement.loss, measurement.formula, measurement.learning_rate
