"""The ``lossearch fidelity`` command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lossearch.cli.output import JsonFlag, as_words, interrupted, print_json, reported, say

if TYPE_CHECKING:
    from lossearch.results.findings.proxies import ProxyLine
    from lossearch.studies.fidelity import JudgedProxies


def fidelity(
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Task, folder of images, or .npz file. Repeat it for more.", show_default="all without download"
        ),
    ] = None,
    candidates: Annotated[int, typer.Option(min=10, max=10_000, help="Losses that are ranked.")] = 60,
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="Full trainings of each loss.")] = 4,
    out: Annotated[
        Path | None,
        typer.Option("--out", "--run-dir", help="Directory of the study.", show_default="runs/fidelity-TIME"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    executor: Annotated[
        Literal["ray", "inline"] | None, typer.Option(help="Where losses are trained.", show_default="ray")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure whether short trainings rank losses as full ones do, and find the cheapest that does."""
    with reported():
        from lossearch.cli.progress_bars import study_view
        from lossearch.studies.fidelity import fidelity as run_fidelity_study
        from lossearch.studies.runner import StudyInterrupted

        size: dict[str, Any] = {"candidates": candidates, "seeds": seeds, "seed": seed}
        try:
            with study_view() as view:
                judged = run_fidelity_study(task, **size, out=out, executor=executor, view=view)
        except StudyInterrupted as stopped:
            words = as_words({"task": task, **size, "executor": executor, "out": stopped.path})
            interrupted("measured", ["fidelity", *words])
        _print(judged, as_json)


def _print(judged: "JudgedProxies", as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        print_json([asdict(line) for line in judged.lines])
    else:
        _print_tables(judged.lines)
    say(f"Values and table: {judged.path}")


def _print_tables(lines: "Sequence[ProxyLine]") -> None:
    from lossearch.cli.output import tables
    from lossearch.cli.tables import proxy_table
    from lossearch.results.findings.proxies import summarize

    console = tables()
    for task in dict.fromkeys(line.task for line in lines):
        of_task = [line for line in lines if line.task == task]
        console.print(proxy_table(of_task, narrow=console.width < 90))
        console.print()
        say(summarize(of_task))
