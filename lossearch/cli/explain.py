"""The ``lossearch explain`` command: parse, call, print."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lossearch.cli.output import as_words, fail, interrupted, print_json, reported, say

if TYPE_CHECKING:
    from lossearch.studies.explain import Explained


def explain(
    source: Annotated[str, typer.Argument(help="Directory of a search, name of a known loss, or formula.")],
    rank: Annotated[int, typer.Option(min=1, help="Rank on the run's leaderboard.")] = 1,
    task: Annotated[str | None, typer.Option(help="To train a name or formula on.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="Trainings of each loss, under fresh seeds.")] = 10,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where that of a name or formula is kept.", show_default="runs/explain-TASK")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster, auto or HOST:PORT.", show_default="none")
    ] = None,
    executor: Annotated[Literal["ray", "inline"] | None, typer.Option(show_default="inline")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a loss does and why it wins: its curves, its parts left out in turn, wrong labels, a long tail."""
    with reported():
        _require_source(source, task)
        from lossearch.cli.progress_bars import comparison_view
        from lossearch.studies.explain import ExplanationInterrupted
        from lossearch.studies.explain import explain as run_explanation

        where: dict[str, Any] = {"run_dir": run_dir, "executor": executor, "ray_address": ray_address}
        try:
            with comparison_view() as view:
                done = run_explanation(source, rank=rank, task=task, seeds=seeds, view=view, **where)
        except ExplanationInterrupted:
            interrupted("measured", _words(source, rank, task, seeds, where))
        _print(done, as_json)


def _require_source(source: str, task: str | None) -> None:
    """End the command for what is no run and cannot be a formula, or lacks its task."""
    if os.path.isdir(source):  # unlike pathlib, no error where a formula is too long for a path
        if task is not None:
            fail(f"--task: expected a name or formula beside it, got the run {source}, which has its own", 2)
        return
    from lossearch.cli.export import _known_or_formula

    if "=" not in source and "[" not in source:  # neither settings nor class weights
        _known_or_formula(source, [])
    if task is None:
        fail("expected --task beside a name or formula, got none. lossearch tasks lists them", 2)


def _words(source: str, rank: int, task: str | None, seeds: int, where: dict[str, Any]) -> list[str]:
    """The words by which the command goes on."""
    options = {"rank": None if rank == 1 else rank, "task": task, "seeds": seeds, **where}
    return ["explain", source, *as_words(options)]


def _print(done: "Explained", as_json: bool) -> None:
    if as_json:
        from lossearch.results.findings.explanation_text import as_data

        print_json(as_data(done.explanation))
    else:
        from lossearch.cli.output import tables
        from lossearch.cli.tables import print_explanation

        print_explanation(tables(), done.explanation)
    say(f"Explanation: {done.path}")
