"""Launch a search in a directory, then write its leaderboard and export its best loss."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossearch.callbacks import Callback, Callbacks, Run, require_callbacks
from lossearch.engine.export_check import check_export
from lossearch.engine.generational import GenerationalSearch
from lossearch.engine.steady import SteadySearch
from lossearch.engine.warning_signs import warn_of_inputs
from lossearch.evaluators.executors.executor import Executor
from lossearch.primitives.arguments import refuse_unknown_arguments, require_flag, require_path, require_whole
from lossearch.primitives.errors import Argument, UserError
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.storage.logged_warnings import logged_warnings
from lossearch.runs.declaration import ARGUMENTS, read_declaration
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment, validated
from lossearch.runs.overrides import override
from lossearch.runs.session import (
    RunInterrupted,
    executor_for,
    require_data,
    require_workers,
    required_path,
    running,
)
from lossearch.runs.views import SilentView, View, require_view

#: Arguments of a search that are no keys of its file.
_ARGUMENTS = ("experiment", "run_dir", "resume", "force", "executor", "ray_address", "view", "callbacks")


class SearchInterrupted(RunInterrupted):
    """The search was stopped from outside; it can be resumed."""


@refuse_unknown_arguments
def search(
    experiment: str | Path | Experiment | None = None,
    *,
    run_dir: str | Path | None = None,
    seed: int | None = None,
    resume: bool = False,
    force: bool = False,
    executor: str | None = None,
    ray_address: str | None = None,
    view: View | None = None,
    callbacks: Sequence[Callback] = (),
    **overrides: Any,
) -> Run:
    """Search for a loss as an experiment declares it, and export the best one.

    ``experiment`` is a TOML file, the name of a shipped one, or an ``Experiment``; ``seed`` replaces its seed.
    ``overrides`` are keys of the file, and replace those that it has; without ``experiment`` they declare the search.
    Keys of its tables need no table: ``search(task="mine.npz", population=100, generations=8, seeds=["focal"])``. The
    task may be a path, and ``seeds`` a number of trainings or the losses to start from.
    ``run_dir`` is the directory to keep the run in (default: ``runs/<name>-<time>``). With ``resume`` it is the
    directory of the run to continue; add ``force`` if the experiment's ``evolution`` was changed since, such as its
    number of generations. ``executor`` is ``ray`` or ``inline`` (default: the experiment's). ``ray_address`` is
    ``auto`` or the ``host:port`` of a cluster (default: a cluster started on this machine, or in a Ray job its own).
    ``view`` shows the search to a person. ``callbacks`` are called at the start, with evaluations, after generations
    and at the end; one that raises an error is not called again.

    Raises ExperimentError, RunDirectoryError, ClusterUnreachable, and SearchInterrupted on Ctrl-C.
    """
    require_view(view)
    callbacks = require_callbacks(callbacks)
    require_workers(executor, ray_address)
    resume, force = require_flag("resume", resume), require_flag("force", force)
    seed = None if seed is None else require_whole("seed", seed, "of 0 or more")
    view = view or SilentView()
    declared = _declared(experiment, {**overrides, "seed": seed})
    path = required_directory(declared, run_dir, resume, force)
    require_data(declared, declared.tasks)
    workers = executor_for(declared.executor, executor, ray_address)  # may fail, so before the directory is made
    try:
        with running(RunDirectory, declared, path, resume, SearchInterrupted, force) as run:
            try:
                all_callbacks = Callbacks(callbacks, view.warned)
                finished = _execute(declared, run, resume, workers, view, all_callbacks)
                all_callbacks.ended(finished)
                return finished
            except KeyboardInterrupt:
                Leaderboard(run.path).write()
                raise
    finally:
        workers.close()


def required_directory(
    declared: Experiment, run_dir: str | Path | None, resume: bool = False, force: bool = False
) -> Path | None:
    """Return the directory that a search was asked to run in; None for a new one. Nothing is written.

    Raises UserError if it cannot start or go on there.
    """
    if force and not resume:
        raise UserError(
            "Expected ",
            Argument("force"),
            " only together with ",
            Argument("resume"),
            ": a new run has nothing to change. Set ",
            Argument("resume", "True"),
            ".",
        )
    return required_path(RunDirectory, declared, run_dir, resume, force)


def _declared(experiment: str | Path | Experiment | None, overrides: dict[str, Any]) -> Experiment:
    """Read the experiment, with these keys replaced unless they are None."""
    if isinstance(experiment, Experiment):
        if all(value is None for value in overrides.values()):
            return experiment
        return validated(override(experiment.model_dump(), overrides, _ARGUMENTS), experiment.name)
    if experiment is not None:
        declared, source = read_declaration(str(require_path("experiment", experiment, "a TOML file or its name")))
        return validated(override(declared, overrides, _ARGUMENTS), source)
    declared = override({"name": "search"}, overrides, _ARGUMENTS)  # names an unknown key first
    if overrides.get("task") is None:
        raise UserError(
            "Expected an experiment or a task, got neither. Give the path of a TOML file, the name of a shipped "
            "experiment, or ",
            Argument("task", "..."),
            ".",
        )
    return validated(declared, ARGUMENTS)


def _execute(
    experiment: Experiment,
    run: RunDirectory,
    resume: bool,
    executor: Executor,
    view: View,
    callbacks: Callbacks,
) -> Run:
    kind = SteadySearch if experiment.evolution.mode == "steady" else GenerationalSearch
    launched = kind(experiment, run, executor, view, callbacks)
    start = launched.restore() if resume else 0
    view.started(run.path, executor.slots)
    callbacks.started(run.path, experiment.model_dump(mode="json"))
    run.log("resumed" if resume else "started", generation=start + 1, slots=executor.slots)
    if not resume:
        launched.warn(warn_of_inputs(experiment, experiment.tasks))
    launched.execute(start)
    board = Leaderboard(run.path)
    board.write()
    counts, warnings = board.candidate_counts().named(), logged_warnings(run.path / "log.jsonl")
    if not board.rows or board.rows[0].rank is None:
        run.log("ended", **counts)
        return Run(run.path, board, None, None, warnings)
    exported = board[0].export(run.path / "best_loss.py")
    trial = check_export(exported, board.rows[0], experiment, board.calibrations(board.rows[0].loss_id))
    run.log("ended", **counts, best=board.rows[0].loss_id, trial=trial.facts())
    board[0].export(exported)  # again, with the result of the check in its docstring
    return Run(run.path, board, exported, trial, warnings)
