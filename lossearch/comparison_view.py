"""What a person sees while losses are compared, and the table of a comparison."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lossearch.results.findings.comparison import Line
from lossearch.results.plain_text import printable
from lossearch.terminal import messages


class ComparisonView(Protocol):
    """Shows a comparison to a person while it runs."""

    def started(self, run: Path) -> None:
        """Losses are about to be trained, and measurements kept in this directory."""

    def planned(self, trainings: int) -> None:
        """So many trainings more are to be done."""

    def recalled(self, trainings: float, what: str) -> None:
        """So many on this task, or shares of them, were done before a restart."""

    def moved(self, trainings: float, what: str) -> None:
        """So many more are done on this task, or shares of them."""

    def warned(self, message: str) -> None:
        """Something is wrong that the comparison copes with."""


class SilentComparison:
    """Shows nothing."""

    def started(self, run: Path) -> None: ...

    def planned(self, trainings: int) -> None: ...

    def recalled(self, trainings: float, what: str) -> None: ...

    def moved(self, trainings: float, what: str) -> None: ...

    def warned(self, message: str) -> None: ...


class ComparisonBar:
    """A progress bar with the time left, in a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
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


def comparison_table(lines: Sequence[Line], narrow: bool = False) -> Table:
    """The lines of one task. ``narrow`` leaves out what a small terminal has no room for."""
    head = lines[0]
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        title=Text(f"{printable(head.task)}: {printable(head.measure)} on the {head.split} split"),
        title_justify="left",
    )
    table.add_column("loss", overflow="fold", ratio=1)
    for name in ("mean", "to baseline", "95 % interval", "p (Holm)")[: 2 if narrow else 4]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in lines:
        cells = [Text(printable(cell)) for cell in _cells(line)]
        table.add_row(
            *(cells[:3] if narrow else cells[:5]), cells[5], style="bold" if line.verdict == "baseline" else None
        )
    return table


def _cells(line: Line) -> tuple[str, ...]:
    failed = f"failed under {line.failed} of {line.failed + line.seeds} seeds"
    return line.loss, *line.numbers(" ±"), failed if line.mean is None else line.verdict
