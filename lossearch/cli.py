"""The ``lossearch`` command: parse, call, print.

Data goes to standard output, messages to standard error. Exit codes: 0 well, 1 failed, 2 the user's input,
3 finished without a valid candidate, 130 interrupted.
"""

import io
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lossearch import completion
from lossearch.cli_compare import compare
from lossearch.cli_explain import explain
from lossearch.cli_export import export
from lossearch.cli_fidelity import fidelity
from lossearch.cli_health import doctor, status
from lossearch.cli_leaderboard import leaderboard, print_board
from lossearch.cli_report import report
from lossearch.cli_show import show
from lossearch.cli_tune import tune
from lossearch.outcome import as_words, fail, interrupted, print_json, reported, say

app = typer.Typer(
    name="lossearch",
    help="Search for loss functions, read the results, export what was found.",
    epilog="Exit codes: 0 well; 1 failed; 2 the input; 3 finished without a valid candidate; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
    """Search for loss functions, read the results, export what was found."""


@app.command()
def search(
    experiment: Annotated[
        str,
        typer.Argument(
            help="TOML file, or name of a shipped experiment.", metavar="FILE", autocompletion=completion.searches
        ),
    ],
    run_dir: Annotated[Path | None, typer.Option(help="Where the run is kept.", show_default="runs/NAME-TIME")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --run-dir.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Resume though the evolution in FILE was changed.")] = False,
    seed: Annotated[int | None, typer.Option(help="Replaces the experiment's seed.")] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster, auto or HOST:PORT.", show_default="local")
    ] = None,
    executor: Annotated[Literal["ray", "inline"] | None, typer.Option(help="Replaces the experiment's.")] = None,
    track: Annotated[list[str] | None, typer.Option(help="Tell tensorboard, mlflow or wandb.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the experiment and show the plan.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the experiment's file.")] = False,
) -> None:
    """Search for a loss as FILE declares."""
    with reported():
        from lossearch.declaration import experiment_text
        from lossearch.experiment import load_experiment

        if show:
            print(experiment_text(experiment)[1], end="")
            return
        declared = load_experiment(experiment, seed=seed)
        if dry_run:
            from lossearch.plan import plan

            print(plan(declared))
            return
        if resume and run_dir is None:
            fail("--resume: expected --run-dir, the directory of the run to continue, got none", 2)
        if ray_address is not None and executor == "inline":
            fail("--ray-address: expected --executor ray beside it, got inline", 2)
        from lossearch.launch import SearchInterrupted, search
        from lossearch.loop import planned_trainings
        from lossearch.terminal import search_view
        from lossearch.trackers import known_tracker

        trackers = [known_tracker(name) for name in track or []]
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


@app.command()
def losses(
    name: Annotated[str | None, typer.Argument(help="One loss.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the known losses, or show one."""
    with reported():
        from lossearch.primitives.catalog import CATALOG, known_loss

        chosen = list(CATALOG.values()) if name is None else [known_loss(name)]
        if as_json:
            described = [loss.describe() for loss in chosen]
            print_json(described if name is None else described[0])
        elif name is None:
            width = max(map(len, CATALOG))
            for loss in chosen:
                print(f"{loss.name:{width}}  {_looks_at(loss):17}  {loss.text}")
        else:
            _print_loss(chosen[0])


@app.command()
def tasks(as_json: JsonFlag = False) -> None:
    """List the tasks that losses can be searched on."""
    with reported():
        from lossearch.evaluators.tasks import TASKS

        if as_json:
            print_json([task.describe() for task in TASKS.values()])
            return
        width = max(map(len, TASKS))
        for needs_download in (False, True):
            for task in TASKS.values():
                if task.needs_download == needs_download:
                    source = f"; data: {task.data_from}" if needs_download else ""
                    print(f"{task.name:{width}}  {task.summary}{source}")


@app.command()
def download(task: Annotated[str, typer.Argument(help="Name of a task that needs data.", metavar="TASK")]) -> None:
    """Fetch the data of a task, where its publisher lets a program do that."""
    with reported():
        from lossearch.evaluators.tasks.downloaded import download_task

        print(download_task(task))


app.command()(leaderboard)
app.command()(show)
app.command()(tune)
app.command()(compare)
app.command()(explain)
app.command()(fidelity)
app.command()(export)
app.command()(report)
app.command()(status)
app.command()(doctor)


def main() -> None:
    """Run the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character gets another
    app()


def _print_run(run: Any) -> None:
    from lossearch.results.ranking.order import difference_noise

    print_board(run.leaderboard.rows, top=10, known=True)
    noise = difference_noise(run.leaderboard.evaluations)
    if noise is not None:
        say(
            f"One difference to cross-entropy has a standard error of {noise:.4f}, and the best of many is "
            "flattered: trust the fresh seeds below."
        )
    if run.exported is None:
        say(f"No candidate was evaluated. The reasons are in {run.path / 'leaderboard.parquet'}.")
    else:
        say(f"Best loss, loaded from its file: {run.trial.sentence(run.leaderboard.rows[0].metric)}.")
    say(f"Run: {run.path}")
    if run.exported is not None:
        say(f"Best loss: {run.exported}")


def _looks_at(loss: Any) -> str:
    """What a module of the loss is called with."""
    over = "embeddings" if loss.formula.looks_at_embeddings else "logits"
    return f"{over}, prior" if "prior" in loss.formula.names else over


def _print_loss(loss: Any) -> None:
    print(f"{loss.name}: {loss.text}")
    for each in loss.hyperparameters:
        scale = ", logarithmic" if each.log else ", whole" if each.whole else ""
        print(f"  {each.name} = {each.default:g}, between {each.low:g} and {each.high:g}{scale}")
    if loss.formula.looks_at_embeddings:
        print(f"  over embeddings, with {loss.class_weights} class weights")
    if "prior" in loss.formula.names:
        print("  needs prior, the class frequencies")
    if loss.aliases:
        print(f"  also called {', '.join(loss.aliases)}")
    print(f"  source: {loss.source}")
