"""What a person sees in the terminal: the live view of a search, and tables.

Invariant: text that comes from a file is shown as it is and never read as markup.
"""

import sys
import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from lossearch.cli.output import messages
from lossearch.results.plain_text import printable
from lossearch.runs.progress import Progress


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


class ComparisonBar:
    """A progress bar with the time left, in a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total} trainings"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("compare", total=None)
        self._planned = 0

    def __enter__(self) -> "ComparisonBar":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def started(self, run: Path) -> None:
        self._console.print(Text(f"Run: {run}"))

    def planned(self, trainings: int) -> None:
        self._planned += trainings
        self._bar.update(self._task, total=self._planned)

    def recalled(self, trainings: float, what: str) -> None:
        self.moved(trainings, what)

    def moved(self, trainings: float, what: str) -> None:
        self._bar.update(self._task, advance=trainings, description=printable(what))

    def warned(self, message: str) -> None:
        self._console.print(Text(f"warning: {message}", style="yellow"))


class ComparisonLines:
    """A line after every quiet ten seconds and at the end, where the output is no terminal."""

    _QUIET = 10.0

    def __init__(self) -> None:
        self._done, self._recalled, self._planned = 0.0, 0.0, 0
        self._started = self._last = time.monotonic()

    def __enter__(self) -> "ComparisonLines":
        return self

    def __exit__(self, *error: object) -> None: ...

    def started(self, run: Path) -> None:
        self._say(f"Run: {run}")

    def planned(self, trainings: int) -> None:
        self._planned += trainings

    def recalled(self, trainings: float, what: str) -> None:
        self._recalled += trainings

    def moved(self, trainings: float, what: str) -> None:
        self._done += trainings
        now, through = time.monotonic(), self._done + self._recalled
        if not trainings or (now - self._last < self._QUIET and through < self._planned - 1e-6):
            return
        self._last = now
        left = (now - self._started) / self._done * (self._planned - through)
        self._say(f"{through:.0f} of {self._planned} trainings, {printable(what)}; {left:.0f} s left")

    def warned(self, message: str) -> None:
        self._say(f"warning: {message}")

    def _say(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


def comparison_view() -> ComparisonBar | ComparisonLines:
    """The view that fits where the messages go."""
    console = messages()
    return ComparisonBar(console) if console.is_terminal else ComparisonLines()
