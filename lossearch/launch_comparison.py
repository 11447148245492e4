"""Compares losses: the same seeds, splits and batches for each, held-out data, intervals, corrected p-values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossearch.comparing import Comparing
from lossearch.comparison import Comparison, load_comparison, replaced, validated_comparison
from lossearch.comparison_directory import ComparisonDirectory
from lossearch.comparison_view import ComparisonView, SilentComparison
from lossearch.primitives.errors import UserError, nearest, shown
from lossearch.results.findings.comparison import ComparisonTable
from lossearch.results.records import DIRECTIONS
from lossearch.running import RunInterrupted, require_data, required_path, running
from lossearch.workers import executor_for


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
