"""The ``lossearch report`` command: parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from lossearch.cli.output import reported, say


def report(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    out: Annotated[Path | None, typer.Option(help="The file.", show_default="report.html in RUN")] = None,
    top: Annotated[int, typer.Option(min=0, max=50, help="Losses of the leaderboard that get a section.")] = 3,
    training: Annotated[
        bool, typer.Option("--training/--no-training", help="Train each once, to show how it goes and what it sees.")
    ] = True,
) -> None:
    """Write one HTML file that shows a run: it loads nothing, and can be sent as it is."""
    with reported():
        from lossearch.results.report.page import require_directory, write_report

        require_directory(run, out)
        if training:
            from lossearch.primitives.errors import UserError
            from lossearch.studies.observation import observe

            try:
                observe(run, top, say)
            except UserError as error:  # data or settings that are not here: the rest is shown
                say(f"Not trained: {error}")
        print(write_report(run, out, top))
