"""The ``lossearch`` command. Each of its commands parses options, calls the library and prints.

Data goes to standard output, messages to standard error. Exit codes: 0 success, 1 failure, 2 wrong input,
3 finished without a valid candidate, 130 interrupted.
"""

import os
import sys
from typing import Annotated

import typer

from lossearch.cli.catalogue import download, losses, tasks
from lossearch.cli.compare import compare
from lossearch.cli.explain import explain
from lossearch.cli.export import export
from lossearch.cli.fidelity import fidelity
from lossearch.cli.health import doctor, status
from lossearch.cli.leaderboard import leaderboard
from lossearch.cli.output import say
from lossearch.cli.search import search
from lossearch.cli.show import report, show
from lossearch.cli.streams import flush_output, make_enduring
from lossearch.cli.tune import tune
from lossearch.cli.usage import PlainGroup
from lossearch.primitives.errors import UserError

app = typer.Typer(
    name="lossearch",
    cls=PlainGroup,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Search for loss functions, read the results, export losses.",
    epilog="Exit codes: 0 success; 1 failure; 2 wrong input; 3 finished without a valid candidate; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("lossearch"))
        raise typer.Exit(0)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search for loss functions, read the results, export losses."""


for command in (
    search,
    losses,
    tasks,
    download,
    leaderboard,
    show,
    tune,
    compare,
    explain,
    fidelity,
    export,
    report,
    status,
    doctor,
):
    app.command()(command)


def _require_working_directory() -> None:
    """End the process with one line where the working directory was removed: torch would end it without one."""
    try:
        os.getcwd()
    except OSError as error:
        say(f"error: expected a working directory that exists, got: {error.strerror}. Change to another directory")
        sys.exit(UserError.exit_code)


def main() -> None:
    """Run the command, and end the process with its exit code; with 1 where its output cannot be written."""
    make_enduring()
    try:
        _require_working_directory()
        app()
    except SystemExit as ended:
        sys.exit(ended.code or int(not flush_output()))
