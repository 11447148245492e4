"""The ``lossearch leaderboard`` command."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lossearch.cli.output import JsonFlag, fail, print_json, reported, say
from lossearch.cli.sources import board_of


def leaderboard(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    top: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    pareto: Annotated[bool, typer.Option("--pareto", help="Only losses on the Pareto front.")] = False,
    task: Annotated[str | None, typer.Option(help="Rank by the fitness on one task of several.")] = None,
    sort: Annotated[str | None, typer.Option(help="Column to sort by; -COLUMN begins with the greatest.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="complexity<10, birth=crossover or formula~cosine. Repeat it for more."),
    ] = None,
    as_json: JsonFlag = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show the best losses of a run, and cross-entropy."""
    with reported():
        if as_json and as_csv:
            fail("expected --json or --csv, got both", 2)
        from lossearch.results.findings.verdict_table import read_verdicts
        from lossearch.results.plain_text import printable
        from lossearch.results.ranking.filters import condition, on_task, ordered

        board, table = board_of(run), read_verdicts(run / "verdict")
        conditions = [condition(text) for text in where or ()]
        rows: Sequence[Any] = board.rows
        is_selection = bool(conditions) or pareto or task is not None or sort is not None
        if is_selection:
            rows = [row for row in board.rows if row.rank is not None]
            rows = rows if task is None else on_task(rows, task)
            rows = [row for row in rows if (row.pareto or not pareto) and all(holds(row) for holds in conditions)]
            rows = rows if sort is None else ordered(rows, sort)
        verdicts = [] if table is None else table.lines
        if as_json:
            print_json(
                [asdict(row) | {"verdicts": _select_verdicts(row.rank, verdicts)} for row in _select_first(rows, top)]
            )
        elif as_csv:
            _print_csv(_select_first(rows, top))
        else:
            print_board(rows, top, beside=not is_selection)
            for line in verdicts:
                say(printable(f"rank {line.rank}, {line.scene}, {line.task}: {line.verdict}; {line.why}."))
        for damage in board.damages:
            say(f"error: {damage.reason.rstrip('.')}. Its evaluations are left out here; --resume trains them again.")
        if board.damages:
            raise typer.Exit(1)


def print_board(rows: Any, top: int, known: bool = False, beside: bool = True) -> None:
    """Print the first rows as a table. ``beside`` adds cross-entropy's row, ``known`` those of all known losses."""
    from lossearch.cli.output import tables
    from lossearch.cli.tables import leaderboard_table

    console = tables()
    console.print(leaderboard_table(rows, top, known, narrow=console.width < 80, beside=beside, width=console.width))


def _select_first(rows: Sequence[Any], top: int) -> list[Any]:
    return [row for row in rows[:top] if row.rank is not None]


def _print_csv(rows: Sequence[Any]) -> None:
    from dataclasses import fields

    from lossearch.results.ranking.row import Row

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.name for column in fields(Row)])
    for row in rows:
        writer.writerow([" ".join(value) if isinstance(value, tuple) else value for value in asdict(row).values()])


def _select_verdicts(rank: int, verdicts: Any) -> list[dict[str, Any]]:
    """Return the verdicts on the loss of a rank, as plain data."""
    return [asdict(line) for line in verdicts if line.rank == rank]
