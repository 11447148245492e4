"""The ``lossearch report`` command."""

from pathlib import Path
from typing import Annotated

import typer

from lossearch.cli.output import reported, say


def report(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="report.html in RUN")] = None,
    top: Annotated[int, typer.Option(min=0, max=50, help="Losses of the leaderboard with a section of their own.")] = 3,
    training: Annotated[
        bool,
        typer.Option("--training/--no-training", help="Train each of them once, and show its course."),
    ] = True,
    own_data: Annotated[
        bool, typer.Option("--own-data", help="Train on a folder or file of yours, if RUN's experiment names one.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file although it is no report.")] = False,
) -> None:
    """Write one HTML file that shows a run. It loads nothing, and can be sent as it is."""
    with reported():
        from lossearch.cli.sources import board_of
        from lossearch.results.report.page import require_directory, write_report

        require_directory(run, out, force)
        board_of(run)  # names parts that cannot be read
        if training:
            from lossearch.primitives.errors import UserError
            from lossearch.studies.observation import observe

            try:
                observe(run, top, say, own_data)
            except UserError as error:  # data may be missing here: the rest is shown
                say(f"Not trained: {error.with_options()}")
        print(write_report(run, out, top, force))
