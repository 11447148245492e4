"""The ``lossearch report`` command: parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from lossearch.outcome import reported


def report(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    out: Annotated[Path | None, typer.Option(help="The file. [default: report.html in RUN]")] = None,
    top: Annotated[int, typer.Option(min=0, max=50, help="Losses of the leaderboard that get a section.")] = 3,
) -> None:
    """Write one HTML file that shows a run: it loads nothing, and can be sent as it is."""
    with reported():
        from results.report.page import write_report

        print(write_report(run, out, top))
