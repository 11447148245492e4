"""What a person sees in the terminal: the live view of a search, and tables.

Invariant: text that comes from a file is shown as it is and never read as markup.
"""

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from lossearch.progress import Progress
from lossearch.results.plain_text import printable
from lossearch.results.ranking.row import Row
from lossearch.results.ranking.rows import known_losses
from lossearch.results.records import BASELINE


def messages() -> Console:
    """Where messages go: standard error."""
    return Console(stderr=True, highlight=False)


def tables() -> Console:
    """Where tables go: standard output, with room for their columns where that is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 110)
    return console


#: Characters of a formula that a table shows at most.
LONGEST_FORMULA = 160


class LiveView:
    """A progress bar with the counts and the best formula below it, in a terminal."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("candidates"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("generation 1", total=total)
        self._live = Live(self._bar, console=console, refresh_per_second=8)

    def __enter__(self) -> "LiveView":
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def started(self, run: Path, slots: int) -> None:
        self._console.print(Text(started_line(run, slots)))

    def moved(self, progress: Progress) -> None:
        description = f"generation {max(progress.generation, 1)} of {progress.generations}"
        self._bar.update(self._task, completed=progress.finished, description=description)
        self._live.update(Group(self._bar, Text(counts_line(progress)), Text(best_line(progress), overflow="ellipsis")))

    def generation_ended(self, progress: Progress) -> None:
        self.moved(progress)

    def warned(self, message: str) -> None:
        self._console.print(Text(f"warning: {message}", style="yellow"))


class PlainView:
    """A line for each generation and after every quiet ten seconds, where the output is no terminal."""

    _QUIET = 10.0

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(self, *error: object) -> None: ...

    def started(self, run: Path, slots: int) -> None:
        print(started_line(run, slots), file=sys.stderr, flush=True)

    def moved(self, progress: Progress) -> None:
        if time.monotonic() - self._last > self._QUIET:
            self._say(progress)

    def generation_ended(self, progress: Progress) -> None:
        self._say(progress)

    def warned(self, message: str) -> None:
        print(f"warning: {message}", file=sys.stderr, flush=True)

    def _say(self, progress: Progress) -> None:
        self._last = time.monotonic()
        where = f"generation {progress.generation} of {progress.generations}"
        print(f"{where}: {counts_line(progress)}; {best_line(progress)}", file=sys.stderr, flush=True)


def search_view(total: int) -> LiveView | PlainView:
    """The view that fits where the messages go."""
    console = messages()
    return LiveView(console, total) if console.is_terminal else PlainView()


def started_line(run: Path, slots: int) -> str:
    """Where the run is kept, and how wide it runs."""
    return f"Run: {run} ({slots} {'candidate' if slots == 1 else 'candidates'} at a time)"


def counts_line(progress: Progress) -> str:
    """How many candidates were trained, how fast, and how many were not and why."""
    stopped = f"{progress.stopped} of them to a rung, " if progress.stopped else ""
    return (
        f"{progress.finished} trained ({progress.per_second:.1f}/s), {stopped}{progress.failed} failed, "
        f"{progress.rejected} rejected, {progress.duplicates} duplicates"
    )


def best_line(progress: Progress) -> str:
    """The best formula so far, against cross-entropy."""
    if progress.best_fitness is None:
        return "best: none yet"
    against = ""
    if progress.baseline_fitness is not None:
        against = f" ({progress.best_fitness - progress.baseline_fitness:+.4f} to cross-entropy)"
    return f"best: {progress.best_fitness:.4f}{against} {printable(progress.best_formula)}"


def leaderboard_table(
    rows: Sequence[Row], top: int, known: bool = False, narrow: bool = False, beside: bool = True
) -> Table:
    """The first rows, and ``beside`` them cross-entropy's wherever it stands; with ``known`` those of all known losses.

    ``narrow`` leaves out what a small terminal has no room for.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [row for row in rows[:top] if row.rank is not None]
    if beside:
        more = [row for row in known_losses(rows) if row.rank is not None and (known or row.name == BASELINE)]
        shown = sorted({row.rank: row for row in (*shown, *more)}.values(), key=lambda row: row.rank or 0)
    metric = rows[0].metric if rows else "accuracy"
    with_intervals = not narrow and any(row.difference_high is not None for row in shown)
    difference = "to CE, 95 %" if with_intervals else "to CE"
    for name in ("rank", metric, difference) if narrow else ("rank", metric, difference, "size"):
        table.add_column(name, justify="right", no_wrap=True)
    if not narrow:
        table.add_column("born", no_wrap=True)
    table.add_column("formula", overflow="fold", ratio=1)
    for row in shown:
        cells = [Text(printable(cell)) for cell in _cells(row, narrow)]
        table.add_row(*cells, style="bold" if row.name == BASELINE else None)
    return table


def _cells(row: Row, narrow: bool) -> Sequence[str]:
    rank = f"{'*' if row.pareto else ' '}{row.rank}"
    if narrow:
        return rank, f"{row.fitness_mean:.4f}", to_cross_entropy(row, with_interval=False), shortened(row.formula)
    spread = "" if row.fitness_std is None else f" ±{row.fitness_std:.4f}"
    born = row.name if row.name else f"{row.birth} g{row.generation}"
    return (
        rank,
        f"{row.fitness_mean:.4f}{spread}",
        to_cross_entropy(row),
        str(row.complexity),
        born,
        shortened(row.formula),
    )


def shortened(formula: str, most: int = LONGEST_FORMULA) -> str:
    """The formula, or as much of both ends as there is room for, without parts of names and numbers.

    ``lossearch show`` has all of it.
    """
    if len(formula) <= most:
        return formula
    kept = most - 3
    head = re.sub(r"[\w.]*$", "", formula[: kept - kept // 3])
    tail = re.sub(r"^[\w.]*", "", formula[-(kept // 3) :])
    return f"{head.rstrip()} … {tail.lstrip()}"


def to_cross_entropy(row: Row, with_interval: bool = True) -> str:
    """The difference with its sign, and half of its interval's width where there is one; empty without a difference."""
    difference, high = row.difference_to_cross_entropy, row.difference_high
    if difference is None:
        return ""
    if not with_interval or high is None:
        return f"{difference:+.4f}"
    return f"{difference:+.4f} ±{high - difference:.4f}"
