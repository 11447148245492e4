"""Explain a loss of a run, or a name or formula on a task."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossearch.evaluators.screening.screening import require_varying
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import known_task, task_on
from lossearch.evaluators.tasks.own_data import own_data
from lossearch.primitives.arguments import refuse_unknown_arguments, require_count, require_path
from lossearch.primitives.errors import Argument, UserError, WrongType, as_user_errors, describe, shown
from lossearch.primitives.identity.algebra import canonical
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.class_weights import require_suits
from lossearch.results.findings.explanation import Explanation, folder_of
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE, loss_id
from lossearch.results.storage.tables import DamagedFile
from lossearch.runs.declaration import ARGUMENTS
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment, validated
from lossearch.runs.named_loss import named_loss
from lossearch.runs.own_paths import name_own_data
from lossearch.runs.session import require_data, require_workers
from lossearch.runs.views import View, require_view
from lossearch.studies.ablation import as_candidate
from lossearch.studies.explanation import (
    BEHAVIOUR,
    DRAWN_BESIDE,
    ExplanationDirectory,
    ExplanationPlan,
    ExplanationStudy,
)
from lossearch.studies.runner import open_workers, require_place, run_study


@dataclass(frozen=True)
class ExplainedLoss:
    """The explanation of a loss, and the directory that keeps it."""

    path: Path
    explanation: Explanation


@refuse_unknown_arguments
def explain(
    source: str | Path,
    *,
    rank: int = 1,
    task: str | Path | None = None,
    seeds: int = 10,
    run_dir: str | Path | None = None,
    executor: str | None = None,
    ray_address: str | None = None,
    view: View | None = None,
) -> ExplainedLoss:
    """Draw a loss, train it without each of its parts, and compare it with others on wrong and few labels.

    ``source`` is the directory of a search, and ``rank`` the rank of its loss. Or it is a name or formula, with the
    ``task`` to train it on: a name, or the path of a folder of images or of an ``.npz`` file. Everything is kept under
    ``explanation`` in the run's directory, or in ``run_dir`` (default: ``runs/explain-<task>``), and the same call
    continues where one was stopped. Each loss is trained under ``seeds`` seeds that no search uses, and measured on the
    validation split alone. ``executor`` is ``inline``, the default, or ``ray``.

    Raises UserError, RunDirectoryError, DamagedFile, ClusterUnreachable, and StudyInterrupted on Ctrl-C.
    """
    if not isinstance(source, str | os.PathLike):
        raise WrongType(
            "Expected ",
            Argument("source"),
            f" to be the directory of a run, the name of a loss or a formula, got {describe(source)}.",
        )
    source = os.fspath(source)
    if task is not None:
        require_path("task", task, "a task or the path of its data")
    rank, seeds = require_count("rank", rank), require_count("seeds", seeds, most=1_000)
    run_dir = None if run_dir is None else require_path("run_dir", run_dir)
    require_view(view)
    require_workers(executor, ray_address)
    plan, folder = _plan(source, rank, task, seeds, run_dir)
    path = folder_of(folder, plan.name)
    require_place(ExplanationDirectory, plan, path, force=True)
    require_data(plan, plan.all_tasks)
    with open_workers(plan.executor, executor or ("ray" if ray_address else "inline"), ray_address) as workers:

        def explain_loss(run: ExplanationDirectory, view: View) -> ExplainedLoss:
            explanation = ExplanationStudy(plan, run, workers, view).execute()
            explanation.write(path)
            return ExplainedLoss(path, explanation)

        return run_study("explanation", ExplanationDirectory, plan, path, explain_loss, view, force=True)


def _plan(
    source: str, rank: int, task: str | Path | None, seeds: int, run_dir: Path | None
) -> tuple[ExplanationPlan, Path]:
    """Plan the explanation; return the plan and the folder that it is kept below."""
    if "\0" not in source and os.path.isdir(source):  # pathlib fails where a formula is too long for a path
        if task is not None or run_dir is not None:
            raise UserError(
                "Expected no ",
                Argument("task"),
                " and no ",
                Argument("run_dir"),
                f" with a run, {source}: it has its own. Leave them out.",
            )
        return _plan_of_run(Path(source), rank, seeds), Path(source)
    if rank != 1:
        raise UserError(
            "Expected ",
            Argument("rank"),
            f" with the directory of a run, got {rank} with {shown(source, 80)!r}.",
        )
    if task is None:
        raise UserError(
            "Expected ",
            Argument("task"),
            f" with a name or formula, got none with {shown(source, 80)!r}. Give a task.",
        )
    plan = _plan_of_text(source, task, seeds)
    return plan, run_dir or Path("runs") / f"explain-{plan.tasks[0]}"


def _plan_of_run(run: Path, rank: int, seeds: int) -> ExplanationPlan:
    """Plan the explanation of a loss of a run, on the run's tasks."""
    board, experiment = Leaderboard(run), RunDirectory.recorded(run)
    if board.damages:
        raise DamagedFile(f"{board.damages[0].reason}. Without it the ranks may differ: resume the search first.")
    if not board.ranked:
        raise UserError(f"{run}: expected a run with losses that were evaluated, got none. Its leaderboard says why.")
    if not 1 <= rank <= board.ranked:
        raise UserError(
            "Expected ", Argument("rank"), f" between 1 and {board.ranked}, the losses of {run}, got {rank}."
        )
    row = board.rows[rank - 1]
    RunDirectory.require_data(run)
    formula = _check_canonical(parse(row.formula), row.class_weights)
    rivals = (rival for rival in board.rows.named() if rival.name not in (BASELINE, row.name))
    return ExplanationPlan(
        **_describe_loss(row.formula, formula, row.class_weights, row.name),
        rival=_find_best_readable(rivals),
        tasks=experiment.tasks,
        factor=row.calibration,
        seed=experiment.seed,
        **_describe_trainings(experiment, formula, seeds),
    )


def _plan_of_text(text: str, task: str | Path, seeds: int) -> ExplanationPlan:
    """Plan the explanation of a name or formula on a task, which may be a path."""
    loss = named_loss(text)
    if loss.known is None:
        require_varying(loss.formula, loss.class_weights)
    formula = _check_canonical(loss.formula, loss.class_weights)
    (name,), data = name_own_data([task])
    full = task_on(name, own_data(data[name]) if name in data else None).fidelity
    experiment = validated({"name": "explain", "task": name, "data": data, "fidelity": full}, ARGUMENTS)
    return ExplanationPlan(
        **_describe_loss(str(loss.formula), formula, loss.class_weights, loss.name),
        rival=DRAWN_BESIDE if loss.name != DRAWN_BESIDE else None,
        tasks=experiment.tasks,
        **_describe_trainings(experiment, formula, seeds),
    )


def _check_canonical(formula: Formula, class_weights: str | None) -> Formula:
    """Return the canonical formula. Raises UserError for class weights that do not suit it."""
    if class_weights is not None:
        with as_user_errors():
            require_suits(class_weights, formula)
    return canonical(formula)


def _describe_loss(text: str, formula: Formula, class_weights: str | None, name: str | None) -> dict[str, Any]:
    """Return the keys of a plan that describe the loss. The plan is named after the loss's id in a leaderboard."""
    candidate = as_candidate(formula, class_weights, name)
    return {
        "name": loss_id(text, class_weights),
        "formula": text,
        "loss": candidate.formula,
        "called": name,
        "class_weights": candidate.class_weights,
    }


def _find_best_readable(rows: Iterable[Row]) -> str | None:
    """Return the name of the best known loss of a run that this version can read."""
    ranked = [(row.rank, row.name) for row in rows if row.rank is not None and row.name is not None]
    for _, name in sorted(ranked, key=lambda pair: pair[0]):
        try:
            named_loss(name)
        except UserError:  # of another version
            continue
        return name
    return None


def _describe_trainings(experiment: Experiment, formula: Formula, seeds: int) -> dict[str, Any]:
    """Return the keys of a plan that describe the trainings.

    A run's own training is used on its tasks. If the run is on digits, it is used on the other tasks on digits, too.
    """
    searched = {name: experiment.training_on(name) for name in experiment.tasks}
    digits = next((name for name in experiment.tasks if name in BEHAVIOUR), None)
    behaviour = {name: known_task(name).fidelity if digits is None else searched[digits] for name in BEHAVIOUR}
    trainings = behaviour | searched
    for name in trainings:
        task_on(name, experiment.data.get(name)).require_given(formula)
    return {
        "fidelity_of": {name: _drop_rungs(fidelity, seeds) for name, fidelity in trainings.items()},
        "data": dict(experiment.data),
        "seeds": seeds,
        "executor": experiment.executor,
    }


def _drop_rungs(fidelity: TrainingSettings, seeds: int) -> TrainingSettings:
    return fidelity.model_copy(update={"rungs": (), "seeds": seeds})
