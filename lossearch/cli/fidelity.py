"""The ``lossearch fidelity`` command: parse, call, print."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lossearch.cli.output import as_words, interrupted, print_json, reported, say

if TYPE_CHECKING:
    from lossearch.results.findings.proxies import ProxyLine
    from lossearch.studies.fidelity import ProxiesJudged


def fidelity(
    task: Annotated[
        list[str] | None, typer.Option(help="A task; give it several times.", show_default="all without download")
    ] = None,
    candidates: Annotated[int, typer.Option(min=10, max=10_000, help="Losses that are ranked.")] = 60,
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="Full trainings of each.")] = 4,
    out: Annotated[
        Path | None, typer.Option("--out", "--run-dir", help="Where it is kept.", show_default="runs/fidelity-TIME")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice.")] = 0,
    executor: Annotated[Literal["ray", "inline"] | None, typer.Option(show_default="ray")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether short trainings rank losses as full ones do, and which is the cheapest that does."""
    with reported():
        from lossearch.cli.progress_bars import comparison_view
        from lossearch.studies.fidelity import FidelityInterrupted
        from lossearch.studies.fidelity import fidelity as run_study

        size: dict[str, Any] = {"candidates": candidates, "seeds": seeds, "seed": seed}
        try:
            with comparison_view() as view:
                done = run_study(task, **size, out=out, executor=executor, view=view)
        except FidelityInterrupted as stopped:
            words = as_words({"task": task, **size, "executor": executor, "out": stopped.path})
            interrupted("measured", ["fidelity", *words])
        _print(done, as_json)


def _print(done: "ProxiesJudged", as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        print_json([asdict(each) for each in done.lines])
    else:
        _print_tables(done.lines)
    say(f"Values and table: {done.path}")


def _print_tables(lines: "Sequence[ProxyLine]") -> None:
    from lossearch.cli.output import tables
    from lossearch.cli.tables import proxy_table
    from lossearch.results.findings.proxies import summarize

    console = tables()
    for task in dict.fromkeys(each.task for each in lines):
        own = [each for each in lines if each.task == task]
        console.print(proxy_table(own, narrow=console.width < 90))
        console.print()
        say(summarize(own))
