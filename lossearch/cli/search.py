"""The ``lossearch search`` command."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lossearch.cli import completion
from lossearch.cli.leaderboard import print_board
from lossearch.cli.output import as_words, fail, interrupted, reported, say, say_embedding_use, typed
from lossearch.cli.sources import require_executor, say_named_data

if TYPE_CHECKING:
    from lossearch.callbacks import Run


def search(
    experiment: Annotated[
        str,
        typer.Argument(
            help="TOML file, or name of a shipped experiment.", metavar="FILE", autocompletion=completion.searches
        ),
    ],
    run_dir: Annotated[Path | None, typer.Option(help="Directory of the run.", show_default="runs/NAME-TIME")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --run-dir.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Resume although the evolution in FILE was changed.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of every random choice.", show_default="the experiment's")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster, auto or HOST:PORT.", show_default="local")
    ] = None,
    executor: Annotated[Literal["ray", "inline"] | None, typer.Option(help="Replaces the declared executor.")] = None,
    track: Annotated[list[str] | None, typer.Option(help="Report to tensorboard, mlflow or wandb. Repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the experiment and show the plan.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the experiment's file.")] = False,
) -> None:
    """Search for a loss as FILE declares."""
    with reported():
        from lossearch.runs.declaration import read_experiment_text
        from lossearch.runs.experiment import load_experiment

        if show:
            print(read_experiment_text(experiment)[1], end="")
            return
        if resume and run_dir is None:
            fail("--resume: expected --run-dir, the directory of the run to continue, got none", 2)
        require_executor(executor, ray_address)
        from lossearch.engine.launch import SearchInterrupted, required_directory, search
        from lossearch.trackers import known_tracker

        trackers = [known_tracker(name) for name in dict.fromkeys(track or [])]
        declared = load_experiment(experiment, seed=seed)
        if resume and run_dir is not None:
            say_named_data(run_dir)
        required_directory(declared, run_dir, resume, force)
        if dry_run:
            from lossearch.cli.plan import plan
            from lossearch.evaluators.tasks.download import require_downloaded

            print(plan(declared))
            for task in declared.tasks:
                require_downloaded(task)
            return
        from lossearch.cli.progress_bars import search_view
        from lossearch.engine.search_loop import planned_trainings

        try:
            with search_view(planned_trainings(declared) // declared.fidelity.seeds // len(declared.tasks)) as view:
                run = search(
                    declared,
                    run_dir=run_dir,
                    resume=resume,
                    force=force,
                    ray_address=ray_address,
                    executor=executor,
                    view=view,
                    callbacks=trackers,
                )
        except SearchInterrupted as stopped:
            options = {"run_dir": stopped.path, "resume": True, "seed": seed, "ray_address": ray_address}
            options |= {"executor": executor, "track": track}
            interrupted("evaluated", ["search", experiment, *as_words(options)])
        _print_run(run)
        if run.exported is None:
            raise typer.Exit(3)


#: Fewest losses for the noise of a difference: it is pooled over the better half of those beside cross-entropy.
FEWEST_FOR_NOISE = 4


def _say_warnings(run: "Run") -> None:
    for warning in run.warnings:
        say(f"warning: {warning}")


def _print_run(run: "Run") -> None:
    """Print the leaderboard, say how far to trust it, and what to type next."""
    say(f"Candidates: {run.leaderboard.candidate_counts().sentence()}.")
    if run.trial is None:
        _say_warnings(run)
        say(f"No candidate was evaluated. The reasons are in {run.path / 'leaderboard.parquet'}.")
        say(f"Run: {run.path}")
        return
    say(f"Best loss, loaded from its file: {run.trial.sentence(run.leaderboard.rows[0].metric)}.")
    say("The table shows the split that chose the losses, where the best of many looks better than it is.")
    print_board(run.leaderboard.rows, top=10, known=True)
    sys.stdout.flush()  # so that the messages after it follow it also in a file that holds both
    noise = run.leaderboard.difference_noise()
    if noise is not None and run.leaderboard.ranked >= FEWEST_FOR_NOISE:
        say(
            f"In the table, one difference to cross-entropy has a standard error of {noise:.4f}: rely on the line "
            "about fresh seeds above it."
        )
    _say_warnings(run)
    say(f"Run: {run.path}")
    say(f"Best loss: {run.exported}")
    if run.leaderboard.rows[0].over_embeddings:
        say_embedding_use("The best loss")
    path = str(run.path)
    say(f"Tune the best losses, then judge them:  {typed(['tune', path])}; {typed(['compare', path])}")
    say(f"Look at the whole run in a browser:     {typed(['report', path])}")
    say(f"Write the judged loss as a file:        {typed(['export', path, '--out', 'my_loss.py'])}")
