"""The ``lossearch`` command: parse, call, print.

Data goes to standard output, messages to standard error. Exit codes: 0 well, 1 failed, 2 the user's input,
3 finished without a valid candidate, 130 interrupted.
"""

import io
import json
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

app = typer.Typer(
    name="lossearch",
    help="Search for loss functions, read the results, export what was found.",
    epilog="Exit codes: 0 well; 1 failed; 2 the input; 3 finished without a valid candidate; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunArgument = Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")]


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
    experiment: Annotated[str, typer.Argument(help="TOML file, or name of a shipped experiment.", metavar="FILE")],
    run_dir: Annotated[Path | None, typer.Option(help="Where the run is kept. [default: runs/NAME-TIME]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --run-dir.")] = False,
    seed: Annotated[int | None, typer.Option(help="Replaces the experiment's seed.")] = None,
    ray_address: Annotated[str | None, typer.Option(help="Ray cluster, auto or HOST:PORT. [default: local]")] = None,
    executor: Annotated[Literal["ray", "inline"] | None, typer.Option(help="Replaces the experiment's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the experiment and show the plan.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the experiment's file.")] = False,
) -> None:
    """Search for a loss as FILE declares."""
    with _reported():
        from lossearch.experiment import experiment_text, load_experiment

        if show:
            print(experiment_text(experiment)[1], end="")
            return
        declared = load_experiment(experiment, seed=seed)
        if dry_run:
            from lossearch.plan import plan

            print(plan(declared))
            return
        if resume and run_dir is None:
            _fail("--resume: expected --run-dir, the directory of the run to continue, got none", 2)
        if ray_address is not None and executor == "inline":
            _fail("--ray-address: expected --executor ray beside it, got inline", 2)
        from lossearch.launch import SearchInterrupted, search
        from lossearch.loop import planned_trainings
        from lossearch.terminal import search_view

        try:
            with search_view(planned_trainings(declared) // declared.fidelity.seeds) as view:
                run = search(
                    declared,
                    run_dir=run_dir,
                    resume=resume,
                    ray_address=ray_address,
                    executor=executor,
                    view=view,
                )
        except SearchInterrupted as stopped:
            words = [_command(), "search", experiment, "--run-dir", str(stopped.path), "--resume"]
            words += ["--seed", str(seed)] if seed is not None else []
            words += ["--ray-address", ray_address] if ray_address is not None else []
            words += ["--executor", executor] if executor is not None else []
            _say(f"Interrupted. Everything evaluated is kept. Continue with:\n  {shlex.join(words)}")
            raise typer.Exit(130) from None
        _print_run(run)
        if run.exported is None:
            raise typer.Exit(3)


@app.command()
def leaderboard(
    run: RunArgument,
    top: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Show the best losses of a run, and cross-entropy."""
    with _reported():
        board = _board(run)
        if as_json:
            _print_json([row for row in board.to_dicts() if row["rank"] is not None][:top])
        else:
            _print_board(board, top)
        for damage in board.damages:
            _say(f"error: {damage.reason}. Its evaluations are left out here; --resume trains them again.")
        if board.damages:
            raise typer.Exit(1)


@app.command()
def losses(
    name: Annotated[str | None, typer.Argument(help="One loss.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the known losses, or show one."""
    with _reported():
        from primitives.catalog import CATALOG, known_loss

        chosen = list(CATALOG.values()) if name is None else [known_loss(name)]
        if as_json:
            described = [loss.describe() for loss in chosen]
            _print_json(described if name is None else described[0])
        elif name is None:
            width = max(map(len, CATALOG))
            for loss in chosen:
                print(f"{loss.name:{width}}  {loss.text}")
        else:
            _print_loss(chosen[0])


@app.command()
def tasks(as_json: JsonFlag = False) -> None:
    """List the tasks that losses can be searched on."""
    with _reported():
        from evaluators.tasks import TASKS

        if as_json:
            _print_json([task.describe() for task in TASKS.values()])
            return
        width = max(map(len, TASKS))
        for task in TASKS.values():
            print(f"{task.name:{width}}  {task.summary}")


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="Directory of a run, name of a known loss, or formula.")],
    out: Annotated[Path, typer.Option(help="File to write; its ending says the format: .py, .onnx or .pt2.")],
    rank: Annotated[int, typer.Option(min=1, help="Rank on the run's leaderboard.")] = 1,
    form: Annotated[str | None, typer.Option("--format", help="py, onnx or pt2. [default: by the ending]")] = None,
    card: Annotated[bool, typer.Option("--card", help="Write a model card beside it, with the ending .md.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Hyper-parameter, as NAME=VALUE.")] = None,
    num_classes: Annotated[int | None, typer.Option(min=1, help="Classes of an ONNX or PyTorch graph.")] = None,
    embedding_size: Annotated[int | None, typer.Option(min=1, help="Embedding size of such a graph.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the files if they exist.")] = False,
) -> None:
    """Write a loss of a run, a known loss or a formula as a file that needs nothing of lossearch."""
    with _reported():
        from lossearch.exporting import export as export_loss
        from lossearch.exporting import format_of

        format_of(out, form)
        for path in (out, out.with_suffix(".md")) if card else (out,):
            _require_free(path, force)
        loss = _loss_of_run(Path(source), rank) if os.path.isdir(source) else _known_or_formula(source)
        try:
            export_loss(
                loss,
                out,
                format=form,
                card=card,
                num_classes=num_classes,
                embedding_size=embedding_size,
                **_hyperparameters(set_ or []),
            )
        except OSError as error:
            _fail(f"{out}: expected a file that can be written, got: {error.strerror}", 2)
        print(out)
        if card:
            print(out.with_suffix(".md"))


def main() -> None:
    """Run the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character gets another
    app()


def _command() -> str:
    """How this command is called from here."""
    return "lossearch" if shutil.which("lossearch") else sys.argv[0]


def _board(run: Path) -> Any:
    """The run's leaderboard; what is damaged is told by the caller, as an error."""
    from results.leaderboard import Leaderboard

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Leaderboard(run)


def _require_free(path: Path, force: bool) -> None:
    if path.is_dir():
        _fail(f"{path}: expected a file to write, got a directory", 2)
    if path.exists() and not force:
        _fail(f"{path}: exists already. Give another --out, or --force to replace it", 2)


def _loss_of_run(run: Path, rank: int) -> Any:
    board = _board(run)
    if board.damages:
        _fail(f"{board.damages[0].reason}. Without it the ranks may be others; --resume trains it again", 1)
    ranked = sum(row.rank is not None for row in board.rows)
    if rank > ranked:
        _fail(f"--rank: expected 1 to {ranked}, the losses of {run} that were evaluated, got {rank}", 2)
    return board[rank - 1]


def _known_or_formula(source: str) -> str:
    from primitives.catalog import ALIASES, CATALOG
    from primitives.nearest import nearest
    from primitives.parser import valid_name

    names = [*CATALOG, *ALIASES]
    if (valid_name(source) and source not in names) or os.path.exists(source):
        near = nearest(source, names)
        _fail(f"{source}: expected the directory of a run, the name of a known loss or a formula{near}", 2)
    return source


def _hyperparameter_name(name: str) -> str:
    """The name of a ``--set``, unless the exporter has an argument of that name."""
    if name in ("loss", "path", "format", "card", "num_classes", "embedding_size"):
        _fail(f"--set: expected the name of a hyper-parameter, got {name!r}", 2)
    return name


def _hyperparameters(settings: list[str]) -> dict[str, float]:
    """Hyper-parameters of ``--set NAME=VALUE``."""
    found = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            found[_hyperparameter_name(name.strip())] = float(value)
        except ValueError:
            _fail(f"--set: expected NAME=VALUE with a number, got {setting!r}", 2)
    return found


def _print_run(run: Any) -> None:
    from results.leaderboard import difference_noise
    from results.statistics import shows_a_difference, standard_error

    _print_board(run.leaderboard, top=10, known=True)
    noise = difference_noise(run.leaderboard.evaluations)
    if noise is not None:
        _say(
            f"One difference to cross-entropy has a standard error of {noise:.4f}, and the best of many is "
            "flattered: trust the fresh seeds below."
        )
    if run.exported is None:
        _say(f"No candidate was evaluated. The reasons are in {run.path / 'leaderboard.parquet'}.")
    elif run.trial.difference is None:
        _say("The best loss was loaded from its file; under a fresh seed its training failed.")
    else:
        trial = run.trial
        error = standard_error(trial.difference_std, trial.seeds)
        shown = (
            ""
            if shows_a_difference(trial.difference, error)
            else " Within two standard errors: no difference is shown."
        )
        _say(
            f"Best loss, loaded from its file and trained under {trial.seeds} fresh seeds: {trial.fitness:.4f}, "
            f"cross-entropy {trial.cross_entropy:.4f}, difference {trial.difference:+.4f} "
            f"(standard error {error:.4f}).{shown}"
        )
    _say(f"Run: {run.path}")
    if run.exported is not None:
        _say(f"Best loss: {run.exported}")


def _print_board(board: Any, top: int, known: bool = False) -> None:
    from rich.console import Console

    from lossearch.terminal import leaderboard_table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 110)
    console.print(leaderboard_table(board.rows, top, known, narrow=console.width < 80))


def _print_loss(loss: Any) -> None:
    print(f"{loss.name}: {loss.text}")
    for each in loss.hyperparameters:
        scale = ", logarithmic" if each.log else ", whole" if each.whole else ""
        print(f"  {each.name} = {each.default:g}, between {each.low:g} and {each.high:g}{scale}")
    if loss.formula.looks_at_embeddings:
        print(f"  over embeddings, with {loss.class_weights} class weights")
    if loss.aliases:
        print(f"  also called {', '.join(loss.aliases)}")
    print(f"  source: {loss.source}")


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _fail(message: str, code: int) -> NoReturn:
    _say(f"error: {message}")
    raise typer.Exit(code)


@contextmanager
def _reported() -> Iterator[None]:
    """Turn what can go wrong into one message and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, KeyboardInterrupt):
        raise
    except BrokenPipeError:  # the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        _fail(str(error), code)


def _exit_code(error: Exception) -> int | None:
    """2 for the user's input, 1 for failures that have a message of their own, None for our bugs."""
    from primitives.errors import UserError

    if isinstance(error, UserError):
        return 2
    failures = ("ClusterUnreachable", "DamagedFile", "NewerFile", "ExportMismatch")  # by name: importing is slow
    return 1 if type(error).__name__ in failures or isinstance(error, OSError) else None
