"""Compares losses: the same seeds, splits and batches for each, held-out data, intervals, corrected p-values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossearch.comparing import Comparing
from lossearch.comparison import Comparison, load_comparison, replaced, validated_comparison
from lossearch.comparison_directory import ComparisonDirectory
from lossearch.comparison_view import ComparisonView, SilentComparison
from lossearch.interruption import watched_for_interruption
from lossearch.workers import executor_for
from primitives.errors import UserError
from results.comparison_table import ComparisonTable


class ComparisonInterrupted(Exception):
    """The comparison was stopped from outside; it can be resumed."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Interrupted; the comparison is in {path}.")
        self.path = path


@dataclass(frozen=True)
class Compared:
    """A finished comparison: its directory and its table."""

    path: Path
    table: ComparisonTable


def compare(
    comparison: str | Path | Comparison,
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

    ``comparison`` is a TOML file or the name of a shipped one; ``overrides`` replace its top-level keys, such as
    ``seeds``. ``run_dir`` is where measurements are kept (default: ``runs/<name>-<time>``) and with ``resume`` the
    directory to go on in. ``executor`` is ``ray`` or ``inline``; ``ray_address`` is ``auto`` or ``host:port``.
    ``measure`` is what the table is about (default: each task's metric).

    Raises ExperimentError, RunDirectoryError, ClusterUnreachable, and ComparisonInterrupted on Ctrl-C.
    """
    view = view or SilentComparison()
    if isinstance(comparison, Comparison):
        declared = validated_comparison(replaced(comparison.model_dump(), overrides), comparison.name)
    else:
        declared = load_comparison(str(comparison), **overrides)
    if resume and run_dir is None:
        raise UserError("Expected run_dir, the directory of the comparison to resume, got none.")
    path = None if run_dir is None else Path(run_dir)
    if path is not None and not resume:
        ComparisonDirectory.require_free(path, declared)
    for name in declared.tasks:  # data that is not there is told of before anything is made
        task = declared.task_named(name)
        task.load()
        if declared.split == "test":
            task.load_test()
    workers = executor_for(declared.executor, executor, ray_address)  # before a directory is made for nothing
    try:
        run = (
            ComparisonDirectory.open(path, declared) if resume and path else ComparisonDirectory.create(declared, path)
        )
        with watched_for_interruption() as interruption:
            try:
                return _execute(Comparing(declared, run, workers, view), resume, measure)
            except BaseException as error:
                if not interruption.explains(error):
                    raise
                run.log("interrupted")
                raise ComparisonInterrupted(run.path) from None
            finally:
                run.close()
    finally:
        workers.close()


def _execute(comparing: Comparing, resume: bool, measure: str | None) -> Compared:
    run, view = comparing.run, comparing.view
    comparing.restore()
    view.started(run.path)
    run.log("resumed" if resume else "started", known=len(comparing.finals.known), slots=comparing.executor.slots)
    measurements = comparing.execute()
    table = ComparisonTable(measurements, comparing.comparison.baseline_name, measure)
    run.save_table(table)
    run.log("ended", measurements=len(measurements), split=comparing.comparison.split)
    return Compared(run.path, table)
