"""Launches a study of proxies: whether a short training ranks losses as the full one does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluators.tasks import TASKS
from lossearch.comparison_view import ComparisonView, SilentComparison
from lossearch.fidelity_directory import FidelityDirectory
from lossearch.fidelity_study import FidelityStudy
from lossearch.running import RunInterrupted, require_data, running
from lossearch.workers import executor_for
from results.proxy_table import ProxyLine, proxy_lines, write_lines
from results.proxy_values import write_values


class FidelityInterrupted(RunInterrupted):
    """The study was stopped from outside; the same call with its directory goes on."""


@dataclass(frozen=True)
class ProxiesJudged:
    """A finished study: its directory and its table."""

    path: Path
    lines: list[ProxyLine]


def fidelity(
    tasks: Sequence[str] | None = None,
    *,
    candidates: int = 60,
    seeds: int = 4,
    seed: int = 0,
    out: str | Path | None = None,
    executor: str | None = None,
    view: ComparisonView | None = None,
) -> ProxiesJudged:
    """Rank candidates by their full training and by shorter ones under other seeds, and say how well these agree.

    ``tasks`` are names (default: all that need no download). ``candidates`` are known losses, and formulas that a
    search admits at its beginning; each is trained fully under ``seeds`` seeds. ``out`` is where ``values.parquet``
    and ``table.parquet`` are written (default: ``runs/fidelity-<time>``); the same call goes on where one was stopped.
    ``executor`` is ``ray`` or ``inline``.

    Raises ExperimentError, RunDirectoryError, and FidelityInterrupted on Ctrl-C.
    """
    named = tasks or [name for name, task in TASKS.items() if not task.needs_download]
    declared = {"name": "fidelity", "tasks": named, "candidates": candidates, "seeds": seeds, "seed": seed}
    plan = FidelityDirectory.validated(declared, "fidelity")
    require_data(plan, plan.tasks)
    path = None if out is None else Path(out)
    goes_on = path is not None and (path / FidelityDirectory.FILE).exists()
    workers = executor_for(plan.executor, executor)
    try:
        with running(FidelityDirectory, plan, path, goes_on, FidelityInterrupted) as run:
            watching = view or SilentComparison()
            watching.started(run.path)
            values = FidelityStudy(plan, run, workers, watching).execute()
            lines = proxy_lines(values)
            write_values(run.path, values)
            write_lines(run.path, lines)
            return ProxiesJudged(run.path, lines)
    finally:
        workers.close()
