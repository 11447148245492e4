"""The ``lossearch explain`` command."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lossearch.cli.output import JsonFlag, as_words, fail, interrupted, print_json, reported, say
from lossearch.cli.sources import known_or_formula, require_executor, say_named_data

if TYPE_CHECKING:
    from lossearch.studies.explain import ExplainedLoss


def explain(
    source: Annotated[str, typer.Argument(help="Directory of a search, name of a known loss, or formula.")],
    rank: Annotated[int, typer.Option(min=1, help="Rank on the run's leaderboard.")] = 1,
    task: Annotated[str | None, typer.Option(help="Task, folder of images, or .npz file.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="Trainings of each loss, under fresh seeds.")] = 10,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Directory for the explanation of a name or formula.", show_default="runs/explain-TASK"),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster, auto or HOST:PORT.", show_default="none")
    ] = None,
    executor: Annotated[
        Literal["ray", "inline"] | None, typer.Option(help="Where losses are trained.", show_default="inline")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a loss does and why it wins: draw its curves, leave out each part, try wrong labels and a long tail."""
    with reported():
        require_executor(executor, ray_address)
        _require_source(source, task)
        if os.path.isdir(source):
            say_named_data(Path(source))
        from lossearch.cli.progress_bars import study_view
        from lossearch.studies.explain import explain as run_explanation
        from lossearch.studies.runner import StudyInterrupted

        where: dict[str, Any] = {"run_dir": run_dir, "executor": executor, "ray_address": ray_address}
        try:
            with study_view() as view:
                explained = run_explanation(source, rank=rank, task=task, seeds=seeds, view=view, **where)
        except StudyInterrupted:
            options = {"rank": None if rank == 1 else rank, "task": task, "seeds": seeds, **where}
            interrupted("measured", ["explain", source, *as_words(options)])
        _print(explained, as_json)


def _require_source(source: str, task: str | None) -> None:
    """End the command unless the source is a run alone, or a name or formula with a task."""
    if os.path.isdir(source):  # pathlib fails where a formula is too long for a path
        if task is not None:
            fail(f"--task: expected a name or formula with it, got the run {source}, which has its own", 2)
        return
    if "=" not in source and "[" not in source:  # neither settings nor class weights
        known_or_formula(source)
    if task is None:
        fail("expected --task with a name or formula, got none. lossearch tasks lists them", 2)


def _print(explained: "ExplainedLoss", as_json: bool) -> None:
    if as_json:
        from lossearch.results.findings.explanation_text import as_data

        print_json(as_data(explained.explanation))
    else:
        from lossearch.cli.output import tables
        from lossearch.cli.tables import print_explanation

        print_explanation(tables(), explained.explanation)
    say(f"Explanation: {explained.path}")
