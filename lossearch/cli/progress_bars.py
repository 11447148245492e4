"""Progress of a search or a study: a live bar in a terminal, lines of text elsewhere.

Invariant: text from a file is shown as it is and never read as markup.
"""

import sys
import time
from pathlib import Path
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from lossearch.cli.output import messages
from lossearch.results.plain_text import printable
from lossearch.runs.progress import Progress
from lossearch.runs.timing import in_words
from lossearch.runs.views import SilentView

#: Seconds without a line, after which a view without a terminal prints one.
QUIET_SECONDS = 10.0


class _TerminalView(SilentView):
    """Prints messages above a bar that stays in the last lines of a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def started(self, run: Path, slots: int | None = None) -> None:
        self._console.print(Text(started_line(run, slots)))

    def warned(self, message: str) -> None:
        self._console.print(Text(f"warning: {message}", style="yellow"))


class SearchBar(_TerminalView):
    """A bar of a search's candidates, with the counts and the best formula below it."""

    def __init__(self, console: Console, total: int) -> None:
        super().__init__(console)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("candidates"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("generation 1", total=total)
        self._live.update(self._bar)

    def moved(self, progress: Progress) -> None:
        description = f"generation {max(progress.generation, 1)} of {progress.generations}"
        self._bar.update(self._task, completed=progress.done, description=description)
        self._live.update(Group(self._bar, Text(counts_line(progress)), Text(best_line(progress), overflow="ellipsis")))

    def generation_ended(self, progress: Progress) -> None:
        self.moved(progress)


class _Pace:
    """Trainings of a study that are planned and through, and the time that the rest takes at the pace so far."""

    def __init__(self) -> None:
        self.planned, self.done, self.recalled = 0, 0.0, 0.0
        self._first: tuple[float, float] | None = None  #: time and trainings when the first steps were reported

    @property
    def through(self) -> float:
        """Number of trainings that were done now, done by an earlier call, or not needed; a share of one counts."""
        return self.done + self.recalled

    @property
    def is_at_end(self) -> bool:
        """True once everything planned so far is through."""
        return self.through >= self.planned - 1e-6  # shares of trainings add up to whole ones, up to rounding

    def advance(self, trainings: float) -> None:
        """Count trainings that were done now. The time before the first ones, in which workers start, is no pace."""
        self.done += trainings
        if self._first is None:
            self._first = time.monotonic(), self.done

    def describe(self) -> str:
        """Return the counts, and the time left once there is a pace."""
        counts = f"{int(self.through + 1e-6)} of {self.planned} trainings"  # only whole ones
        if self._first is None or self.done <= self._first[1] or self.is_at_end:
            return counts
        started, done_then = self._first
        seconds = (time.monotonic() - started) / (self.done - done_then) * (self.planned - self.through)
        return f"{counts}, {in_words(seconds)} left"


class StudyBar(_TerminalView):
    """A bar of a study's trainings, with the time left. It moves with the steps of trainings."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"), console=console
        )
        self._pace = _Pace()
        self._task = self._bar.add_task("starting", total=None, counts="")
        self._live.update(self._bar)

    def planned(self, trainings: int) -> None:
        self._pace.planned += trainings
        self._show()

    def recalled(self, trainings: float, task: str) -> None:
        self._pace.recalled += trainings
        self._show(task)

    def advanced(self, trainings: float, task: str) -> None:
        self._pace.advance(trainings)
        self._show(task)

    def _show(self, task: str | None = None) -> None:
        pace, description = self._pace, None if task is None else printable(task)
        self._bar.update(
            self._task, completed=pace.through, total=pace.planned, description=description, counts=pace.describe()
        )


class _LineView(SilentView):
    """Prints lines to standard error."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def started(self, run: Path, slots: int | None = None) -> None:
        self._say(started_line(run, slots))

    def warned(self, message: str) -> None:
        self._say(f"warning: {message}")

    def _was_quiet(self) -> bool:
        """Return True if no line about the progress was printed for ``QUIET_SECONDS``."""
        return time.monotonic() - self._last > QUIET_SECONDS

    def _say(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


class SearchLines(_LineView):
    """Prints a line for each generation of a search, and one after ``QUIET_SECONDS`` without any."""

    def __init__(self, total: int | None = None) -> None:
        super().__init__()
        self._total = total

    def moved(self, progress: Progress) -> None:
        if self._was_quiet():
            self.generation_ended(progress)

    def generation_ended(self, progress: Progress) -> None:
        self._last = time.monotonic()
        where = f"generation {progress.generation} of {progress.generations}"
        seconds = None if self._total is None else progress.seconds_left(self._total)
        left = "" if seconds is None or seconds < 1.0 else f"; about {in_words(seconds)} left"
        self._say(f"{where}: {counts_line(progress)}; {best_line(progress)}{left}")


class StudyLines(_LineView):
    """Prints a line after ``QUIET_SECONDS`` of a study without any, and one at its end."""

    def __init__(self) -> None:
        super().__init__()
        self._pace = _Pace()

    def planned(self, trainings: int) -> None:
        self._pace.planned += trainings

    def recalled(self, trainings: float, task: str) -> None:
        self._pace.recalled += trainings

    def advanced(self, trainings: float, task: str) -> None:
        self._pace.advance(trainings)
        if trainings and (self._pace.is_at_end or self._was_quiet()):
            self._last = time.monotonic()
            self._say(f"{printable(task)}: {self._pace.describe()}")


def search_view(total: int) -> SearchBar | SearchLines:
    """Return the view of a search of ``total`` candidates that suits standard error."""
    console = messages()
    return SearchBar(console, total) if console.is_terminal else SearchLines(total)


def study_view() -> StudyBar | StudyLines:
    """Return the view of a study that suits standard error."""
    console = messages()
    return StudyBar(console) if console.is_terminal else StudyLines()


def started_line(run: Path, slots: int | None) -> str:
    """Return a line about the run's directory, and the number of candidates that are trained at a time."""
    at_a_time = "" if slots is None else f" ({slots} {'candidate' if slots == 1 else 'candidates'} at a time)"
    return f"Run: {run}{at_a_time}"


def counts_line(progress: Progress) -> str:
    """Return a line about candidates: trained, failed and refused, and trained per second."""
    return progress.candidates.sentence(f" ({progress.per_second:.1f}/s)")


def best_line(progress: Progress) -> str:
    """Return a line about the best formula so far, compared with cross-entropy."""
    if progress.best_fitness is None:
        return "best: none yet"
    against = ""
    if progress.baseline_fitness is not None:
        against = f" ({progress.best_fitness - progress.baseline_fitness:+.4f} to cross-entropy)"
    return f"best: {progress.best_fitness:.4f}{against} {printable(progress.best_formula)}"
