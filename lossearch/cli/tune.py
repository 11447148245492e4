"""The ``lossearch tune`` command."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lossearch.cli.output import JsonFlag, as_words, interrupted, print_json, reported, say, say_legend, typed
from lossearch.cli.sources import require_executor, say_named_data

if TYPE_CHECKING:
    from lossearch.studies.tune import TunedRun


def tune(
    run: Annotated[Path, typer.Argument(help="Directory of a finished search.", metavar="RUN")],
    top: Annotated[int, typer.Option(min=1, max=100, help="Losses of the leaderboard to tune.")] = 5,
    trials: Annotated[int, typer.Option(min=2, max=10_000, help="Settings tried of each loss, known ones too.")] = 20,
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="Trainings of each setting.")] = 2,
    baselines: Annotated[
        str | None, typer.Option(help="Known losses, separated by commas.", show_default="all that suit")
    ] = None,
    random_search: Annotated[
        bool,
        typer.Option(
            "--random-search/--no-random-search", help="Search by random trees with the same budget, to compare."
        ),
    ] = True,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster, auto or HOST:PORT.", show_default="local")
    ] = None,
    executor: Annotated[Literal["ray", "inline"] | None, typer.Option(help="Replaces the run's executor.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Tune the best losses of RUN on the validation split, and known losses with the same budget."""
    with reported():
        from lossearch.cli.progress_bars import search_view, study_view
        from lossearch.runs.named_loss import split_names
        from lossearch.runs.session import RunInterrupted
        from lossearch.studies.tune import estimate_tuning, search_at_random
        from lossearch.studies.tune import tune as run_tuning

        require_executor(executor, ray_address)
        run = _shorten_if_missing(run)
        chosen: dict[str, Any] = {"top": top, "trials": trials, "seeds": seeds}
        chosen["baselines"] = None if baselines is None else split_names(baselines)
        say_named_data(run)
        say(estimate_tuning(run, **chosen, random_search=random_search, executor=executor))
        where: dict[str, Any] = {"executor": executor, "ray_address": ray_address}
        try:
            if random_search:
                with search_view(_count_candidates(run)) as view_of_search:
                    search_at_random(run, **where, view=view_of_search)
            with study_view() as view:
                tuned = run_tuning(run, **chosen, random_search=random_search, **where, view=view)
        except RunInterrupted:
            options = {"top": top, "trials": trials, "seeds": seeds, "baselines": baselines}
            options |= {"no_random_search": not random_search, **where}
            interrupted("trained", ["tune", str(run), *as_words(options)])
        _print(tuned, as_json)
        say(f"Studies, for optuna-dashboard: {tuned.path / 'studies.journal'}")
        say(f"To judge these losses on the test split: {typed(['compare', str(run)])}")
        say(f"Then write the judged loss as a file:    {typed(['export', str(run), '--out', 'my_loss.py'])}")


def _shorten_if_missing(run: Path) -> Path:
    """Return the path, shortened if nothing is there: pathlib fails without a message if a path is too long."""
    from lossearch.primitives.errors import shown

    return run if os.path.exists(run) else Path(shown(str(run), limit=200))


def _count_candidates(run: Path) -> int:
    """Return the number of candidates that the search of a run trains."""
    from lossearch.engine.search_loop import planned_trainings
    from lossearch.runs.directory import RunDirectory

    experiment = RunDirectory.recorded(run)
    return planned_trainings(experiment) // experiment.fidelity.seeds // len(experiment.tasks)


def _print(tuned: "TunedRun", as_json: bool) -> None:
    from dataclasses import asdict

    from lossearch.cli.output import tables
    from lossearch.cli.tables import tuned_table

    if as_json:
        print_json([asdict(loss) for loss in tuned.losses])
        return
    console = tables()
    for task in dict.fromkeys(loss.task for loss in tuned.losses):
        of_task = [loss for loss in tuned.losses if loss.task == task]
        console.print(tuned_table(of_task, narrow=console.width < 100))
    say_legend([loss.formula for loss in tuned.losses])
