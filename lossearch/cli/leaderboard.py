"""The ``lossearch leaderboard`` command."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossearch.cli.output import JsonFlag, fail, print_json, reported, say, typed
from lossearch.cli.sources import board_of, say_problems_of_findings

if TYPE_CHECKING:
    from lossearch.results.findings.tuned_forms import LossKey
    from lossearch.results.findings.verdicts import Verdict


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
        from lossearch.results.findings.tuned_forms import loss_key
        from lossearch.results.plain_text import printable
        from lossearch.results.ranking.filters import condition, on_task, ordered

        board, by_loss = board_of(run, says_damages=False), _group_verdicts(run)
        say_problems_of_findings(run)
        conditions = [condition(text) for text in where or ()]
        rows: Sequence[Any] = board.rows
        is_selection = bool(conditions) or pareto or task is not None or sort is not None
        if is_selection:
            rows = [row for row in board.rows if row.rank is not None]
            rows = rows if task is None else on_task(rows, task)
            rows = [row for row in rows if (row.pareto or not pareto) and all(holds(row) for holds in conditions)]
            rows = rows if sort is None else ordered(rows, sort)
        if as_json:

            def verdicts_of(row: Any) -> list[dict[str, Any]]:
                return [asdict(line) for line in by_loss.get(loss_key(row.formula, row.class_weights), ())]

            print_json([asdict(row) | {"verdicts": verdicts_of(row)} for row in _select_first(rows, top)])
        elif as_csv:
            _print_csv(_select_first(rows, top))
        elif board.ranked and is_selection and not rows:
            say("No loss meets these conditions.")
        elif board.ranked:
            print_board(rows, top, beside=not is_selection)
            for (formula, class_weights), lines in by_loss.items():
                row = board.find_row(formula, class_weights)
                called = f"{lines[0].loss}, not on this leaderboard" if row is None else f"rank {row.rank}"
                for line in lines:
                    say(printable(f"{called}, {line.scene}, {line.task}: {line.verdict}; {line.why}."))
            if by_loss:
                say(f"Write the best judged loss as a file: {typed(['export', str(run), '--out', 'my_loss.py'])}")
        for damage in board.damages:
            say(f"error: {damage.reason.rstrip('.')}. Its evaluations are left out here; --resume trains them again.")
        if board.damages:
            raise typer.Exit(1)
        if not board.ranked:
            say(f"No loss was trained to the end yet{board.why_unranked()}.")
            raise typer.Exit(3)


def print_board(rows: Any, top: int, known: bool = False, beside: bool = True) -> None:
    """Print the first rows as a table. ``beside`` adds cross-entropy's row, ``known`` those of all known losses."""
    from lossearch.cli.output import tables
    from lossearch.cli.tables import leaderboard_table, legend, shown_rows

    console = tables()
    shown = shown_rows(rows, top, known, beside)
    console.print(leaderboard_table(rows, top, known, narrow=console.width < 80, beside=beside, width=console.width))
    marks = legend([row.over_embeddings for row in shown], any(row.pareto for row in shown))
    if marks is not None:
        print(marks)


def _select_first(rows: Sequence[Any], top: int) -> list[Any]:
    return [row for row in rows[:top] if row.rank is not None]


def _print_csv(rows: Sequence[Any]) -> None:
    from dataclasses import fields

    from lossearch.results.plain_text import spreadsheet_cell
    from lossearch.results.ranking.row import Row

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.name for column in fields(Row)])
    for row in rows:
        values = (" ".join(value) if isinstance(value, tuple) else value for value in asdict(row).values())
        writer.writerow([spreadsheet_cell(value) if isinstance(value, str) else value for value in values])


def _group_verdicts(run: Path) -> "dict[LossKey, list[Verdict]]":
    """Return the verdicts of a run by the loss that they are on. Its rank may have changed since."""
    from lossearch.results.findings.tuned_forms import TunedForms, key_of

    by_loss: dict[LossKey, list[Verdict]] = {}
    for line in TunedForms(run).verdicts:
        by_loss.setdefault(key_of(line.loss), []).append(line)
    return by_loss
