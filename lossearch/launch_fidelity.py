"""Launches a study of proxies: whether a short training ranks losses as the full one does."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossearch.comparison_view import ComparisonView, SilentComparison
from lossearch.evaluators.tasks import TASKS
from lossearch.fidelity_directory import FidelityDirectory
from lossearch.fidelity_study import FidelityStudy
from lossearch.primitives.errors import UserError
from lossearch.results.findings.proxies import ProxyLine, proxy_lines, write_lines, write_values
from lossearch.running import RunInterrupted, require_data, running
from lossearch.workers import executor_for


class FidelityInterrupted(RunInterrupted):
    """The study was stopped from outside; the same call with its directory as ``out`` goes on."""


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
    and ``table.parquet`` are written (default: a new ``runs/fidelity-<time>``); the same call with its ``out`` goes on
    where one was stopped. ``executor`` is ``ray`` or ``inline``.

    Raises UserError, RunDirectoryError, and FidelityInterrupted on Ctrl-C.
    """
    if tasks is None:
        tasks = [name for name, task in TASKS.items() if not task.needs_download]
    if not tasks:
        raise UserError("Expected tasks, got an empty list. Name some, or leave tasks out for all without download.")
    declared = {"name": "fidelity", "tasks": tasks, "candidates": candidates, "seeds": seeds, "seed": seed}
    plan = FidelityDirectory.validated(declared, "fidelity")
    require_data(plan, plan.tasks)
    path = None if out is None else Path(out)
    goes_on = path is not None and os.path.exists(path / FidelityDirectory.FILE)  # no error where it is too long
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
