"""Explains a loss: of a run, or of a name or formula on a task."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import known_task, task_on
from lossearch.primitives.errors import UserError, as_user_errors
from lossearch.primitives.identity.algebra import canonical
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.class_weights import require_suits
from lossearch.results.findings.explanation import Explanation, folder_of
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE, loss_id
from lossearch.results.storage.tables import DamagedFile
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment
from lossearch.runs.named_loss import named_loss
from lossearch.runs.session import RunInterrupted, executor_for, require_data, running
from lossearch.runs.views import ComparisonView, SilentComparison
from lossearch.studies.ablation import as_candidate
from lossearch.studies.explanation import BEHAVIOUR, DRAWN_BESIDE, Explaining, ExplanationDirectory, ExplanationPlan


class ExplanationInterrupted(RunInterrupted):
    """Explaining was stopped from outside; the same call goes on."""


@dataclass(frozen=True)
class Explained:
    """What was found of a loss, and where it is kept."""

    path: Path
    explanation: Explanation


def explain(
    source: str | Path,
    *,
    rank: int = 1,
    task: str | None = None,
    seeds: int = 10,
    run_dir: str | Path | None = None,
    executor: str | None = None,
    ray_address: str | None = None,
    view: ComparisonView | None = None,
) -> Explained:
    """Draw a loss, train it without each of its parts, and beside others on wrong and few labels.

    ``source`` is the directory of a search, of whose losses that of a ``rank`` is explained, or a name or formula, with
    the ``task`` that it is trained on. All of it is kept under ``explanation`` in the run's directory, or in
    ``run_dir`` (default: ``runs/explain-<task>``), and the same call goes on where one was stopped. Each loss is
    trained under ``seeds`` seeds that no search uses, and measured on the validation split alone. ``executor`` is
    ``inline``, the default, or ``ray``.

    Raises UserError, RunDirectoryError, DamagedFile, ClusterUnreachable, and ExplanationInterrupted on Ctrl-C.
    """
    plan, run = _planned(source, rank, task, seeds, None if run_dir is None else Path(run_dir))
    require_data(plan, plan.all_tasks)
    path = folder_of(run, plan.name)
    workers = executor_for(plan.executor, executor or ("ray" if ray_address else "inline"), ray_address)
    try:
        known = (path / ExplanationDirectory.FILE).exists()
        with running(ExplanationDirectory, plan, path, known, ExplanationInterrupted, force=True) as directory:
            found = Explaining(plan, directory, workers, view or SilentComparison()).execute()
            found.write(path)
            return Explained(path, found)
    finally:
        workers.close()


def _planned(
    source: str | Path, rank: int, task: str | None, seeds: int, run_dir: Path | None
) -> tuple[ExplanationPlan, Path]:
    """What is to be done, and the run's directory."""
    if os.path.isdir(source):  # unlike pathlib, no error where a formula is too long for a path
        if task is not None or run_dir is not None:
            raise UserError(f"Expected no task and no run_dir beside a run, {source}: it has its own. Leave them out.")
        return _of_run(Path(source), rank, seeds), Path(source)
    if rank != 1:
        raise UserError(f"Expected rank beside the directory of a run, got {rank} beside {str(source)!r:.80}.")
    if task is None:
        raise UserError(f"Expected task beside a name or formula, got none beside {str(source)!r:.80}. Give a task.")
    return _of_text(str(source), task, seeds), run_dir or Path("runs") / f"explain-{task}"


def _of_run(run: Path, rank: int, seeds: int) -> ExplanationPlan:
    board, experiment = Leaderboard(run), RunDirectory.recorded(run)
    if board.damages:
        raise DamagedFile(f"{board.damages[0].reason} Without it the ranks may be others: --resume trains it again.")
    if not board.ranked:
        raise UserError(f"{run}: expected a run with losses that were evaluated, got none. Its leaderboard says why.")
    if not 1 <= rank <= board.ranked:
        raise UserError(f"Expected rank between 1 and {board.ranked}, the losses of {run}, got {rank}.")
    row = board.rows[rank - 1]
    formula = _checked(parse(row.formula), row.class_weights)
    known = [each for each in board.rows.named() if each.rank is not None and each.name not in (BASELINE, row.name)]
    return ExplanationPlan(
        **_loss(row.formula, formula, row.class_weights, row.name),
        rival=_rival(known),
        tasks=experiment.tasks,
        factor=row.calibration,
        seed=experiment.seed,
        **_trainings(experiment, formula, seeds),
    )


def _of_text(text: str, task: str, seeds: int) -> ExplanationPlan:
    seed = named_loss(text)
    formula = _checked(seed.formula, seed.class_weights)
    known_task(task)
    experiment = Experiment(name="explain", task=task, fidelity=known_task(task).fidelity)
    return ExplanationPlan(
        **_loss(str(seed.formula), formula, seed.class_weights, seed.name),
        rival=DRAWN_BESIDE if seed.name != DRAWN_BESIDE else None,
        tasks=(task,),
        **_trainings(experiment, formula, seeds),
    )


def _checked(formula: Formula, class_weights: str | None) -> Formula:
    """The canonical formula. Raises UserError where class weights do not suit it."""
    if class_weights is not None:
        with as_user_errors():
            require_suits(class_weights, formula)
    return canonical(formula)


def _loss(found: str, formula: Formula, class_weights: str | None, name: str | None) -> dict[str, Any]:
    """The loss as it was found, and its canonical form; it is kept under the id that a leaderboard has for it."""
    candidate = as_candidate(formula, class_weights, name)
    return {
        "name": loss_id(found, class_weights),
        "formula": found,
        "loss": candidate.formula,
        "called": name,
        "class_weights": candidate.class_weights,
    }


def _rival(known: list[Row]) -> str | None:
    """The best known loss of a run that can be read again."""
    for row in sorted(known, key=lambda each: each.rank or 0):
        try:
            named_loss(row.name or "")
        except UserError:  # of another version
            continue
        return row.name
    return None


def _trainings(experiment: Experiment, formula: Formula, seeds: int) -> dict[str, Any]:
    """The training on every task, and what it needs: the run's on its own, and on digits where it is on digits."""
    digits = next((name for name in experiment.tasks if name in BEHAVIOUR), None)
    own = {name: experiment.training_on(name) for name in experiment.tasks}
    other = {name: known_task(name).fidelity if digits is None else own[digits] for name in BEHAVIOUR}
    for name in other | own:
        task_on(name, experiment.data.get(name)).require_given(formula)
    return {
        "fidelity_of": {name: _whole(each, seeds) for name, each in (other | own).items()},
        "data": dict(experiment.data),
        "seeds": seeds,
        "executor": experiment.executor,
    }


def _whole(fidelity: TrainingSettings, seeds: int) -> TrainingSettings:
    """The training without rungs, under so many seeds."""
    return fidelity.model_copy(update={"rungs": (), "seeds": seeds})
