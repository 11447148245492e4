"""Tunes the survivors of a search, and with the same budget known losses and the best of a random search."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluators.executors import Executor
from lossearch.comparing import Comparing
from lossearch.comparison import Comparison, validated_comparison
from lossearch.comparison_directory import ComparisonDirectory
from lossearch.comparison_view import ComparisonView, SilentComparison
from lossearch.experiment import Experiment
from lossearch.launch import search
from lossearch.progress import SearchView
from lossearch.run_directory import RunDirectory
from lossearch.running import RunInterrupted, require_data, running
from lossearch.scenes import full_training
from lossearch.survivors import Survivor, suitable_baselines, survivors
from lossearch.tuning_rounds import Tuned
from lossearch.workers import executor_for
from results.leaderboard import Leaderboard
from results.run_log import logged_events
from results.tuned_losses import TunedLoss, write_tuned

#: Folders of a run: what was tuned, and a random search beside it.
TUNING, RANDOM_SEARCH = "tuning", "random_search"


#: Seeds under which the best settings of each loss are trained again, to tell which losses are to be judged.
CONFIRM = 6


class TuningInterrupted(RunInterrupted):
    """Tuning was stopped from outside; the same call goes on."""


@dataclass(frozen=True)
class TunedRun:
    """What tuning the survivors of a run found, and where it is kept."""

    path: Path
    losses: list[TunedLoss]


@dataclass(frozen=True)
class _Found:
    """What a search found: its survivors, and from how many candidates."""

    kind: str
    survivors: Sequence[Survivor]
    chosen_from: int


def tune(
    run: str | Path,
    *,
    top: int = 5,
    trials: int = 20,
    seeds: int = 2,
    baselines: Sequence[str] | None = None,
    random_search: bool = True,
    executor: str | None = None,
    ray_address: str | None = None,
    view: ComparisonView | None = None,
) -> TunedRun:
    """Tune the ``top`` losses of a finished search over their constants and the learning rate.

    ``trials`` settings of each are tried under ``seeds`` seeds, on the validation split, in full trainings; the known
    losses get as many, all that suit the task unless ``baselines`` names some. What the best settings of each loss are
    worth is told by further seeds. With ``random_search``, a search by random trees alone trains as many candidates
    first, and its best are tuned as well. All of it is kept in the run's directory, and the same call goes on where one
    was stopped.

    Raises UserError, RunDirectoryError, ClusterUnreachable, and TuningInterrupted or SearchInterrupted on Ctrl-C.
    """
    path = Path(run)
    experiment = RunDirectory.recorded(path)
    found = [_found("found", path, top)]
    if random_search:
        search_at_random(path, executor=executor, ray_address=ray_address)
        found.append(_found("random search", path / RANDOM_SEARCH, top))
    declared = _declared(experiment, found, baselines, trials, seeds)
    require_data(declared, declared.tasks)
    workers = executor_for(experiment.executor, executor, ray_address)
    try:
        tuned = _tuned(declared, path / TUNING, workers, view or SilentComparison())
    finally:
        workers.close()
    losses = [_record(task, each, found) for task, of_task in tuned.items() for each in of_task]
    write_tuned(path / TUNING, losses)
    return TunedRun(path / TUNING, losses)


def random_experiment(experiment: Experiment) -> Experiment:
    """The same search with random trees alone for children: as many candidates, and none of them bred."""
    evolution = experiment.evolution.model_copy(update={"random_trees": 1.0})
    return experiment.model_copy(update={"name": f"{experiment.name[:57]}-random", "evolution": evolution})


def search_at_random(
    run: str | Path, *, executor: str | None = None, ray_address: str | None = None, view: SearchView | None = None
) -> None:
    """Search by random trees alone with the budget of a run, in its directory; what was stopped goes on.

    Raises what ``search`` does.
    """
    path = Path(run) / RANDOM_SEARCH
    declared = random_experiment(RunDirectory.recorded(Path(run)))
    if _is_finished(path):
        return
    begun = (path / RunDirectory.FILE).exists()
    search(declared, run_dir=path, resume=begun, executor=executor, ray_address=ray_address, view=view)


def _is_finished(path: Path) -> bool:
    return any(event.get("event") == "ended" for event in logged_events(path / "log.jsonl"))


def _found(kind: str, path: Path, top: int) -> _Found:
    board = Leaderboard(path)
    counts = board.counts()
    trained = counts.get("evaluated", 0) + counts.get("stopped", 0) + counts.get("failed", 0)
    return _Found(kind, survivors(board, top), trained)


def _declared(
    experiment: Experiment, found: Sequence[_Found], baselines: Sequence[str] | None, trials: int, seeds: int
) -> Comparison:
    """The comparison that the tuning is a part of: every loss on every task of the search."""
    known = suitable_baselines(experiment) if baselines is None else list(baselines)
    losses = [each.loss for one in found for each in one.survivors]
    declared = {
        "name": f"{experiment.name[:57]}-tuning",
        "tasks": list(experiment.tasks),
        "losses": [*known, *(each for each in dict.fromkeys(losses) if each not in known)],
        "baseline": known[0] if known else losses[0],
        "seed": experiment.seed,
        "tune": trials,
        "tune_seeds": seeds,
        "confirm": CONFIRM,
        "data": {name: each.model_dump() for name, each in experiment.data.items()},
        "fidelity_of": {
            name: full_training(experiment, name).model_dump(exclude={"seeds"}) for name in experiment.tasks
        },
        "executor": experiment.executor.model_dump(),
    }
    return validated_comparison(declared, "tune")


def _tuned(declared: Comparison, path: Path, workers: Executor, view: ComparisonView) -> dict[str, list[Tuned]]:
    goes_on = ComparisonDirectory.goes_on(path, declared)
    with running(ComparisonDirectory, declared, path, goes_on, TuningInterrupted) as directory:
        comparing = Comparing(declared, directory, workers, view)
        comparing.restore()
        view.started(path)
        return comparing.tune()


def _record(task: str, tuned: Tuned, found: Sequence[_Found]) -> TunedLoss:
    """The record of a tuned loss; one that both searches found is the search's own."""
    owner = next((one for one in found if tuned.loss in [each.loss for each in one.survivors]), None)
    rank = None if owner is None else next(each.rank for each in owner.survivors if each.loss == tuned.loss)
    return TunedLoss(
        task=task,
        kind="baseline" if owner is None else "found" if owner.kind == "found" else "random search",
        rank=rank,
        loss=tuned.loss,
        formula=tuned.candidate.formula,
        settings=tuple(f"{name}={value!r}" for name, value in tuned.settings.items()),
        value=tuned.value,
        trials=tuned.trials,
        pruned=tuned.pruned,
        chosen_from=None if owner is None else owner.chosen_from,
    )
