"""Tunes the survivors of a search, and with the same budget known losses and the best of a random search."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lossearch.engine.launch import search
from lossearch.evaluators.executors.executor import Executor
from lossearch.primitives.errors import UserError
from lossearch.results.findings.tuned_losses import Kind, TunedLoss, write_tuned
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.storage.run_files import logged_events
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment, full_training
from lossearch.runs.session import RunInterrupted, executor_for, require_data, running
from lossearch.runs.views import ComparisonView, SearchView, SilentComparison
from lossearch.studies.compare import Comparing, goes_on
from lossearch.studies.comparison import Comparison, ComparisonDirectory, validated_comparison
from lossearch.studies.survivors import Survivor, suitable_baselines, survivors
from lossearch.studies.tuning import Tuned

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

    kind: Kind
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
    was stopped; a search that was resumed for more generations gets a random one of as many.

    Raises UserError, RunDirectoryError, ClusterUnreachable, and TuningInterrupted or SearchInterrupted on Ctrl-C.
    """
    path = Path(run)
    found = [_to_tune(path, top, trials, seeds, baselines)]
    experiment = RunDirectory.recorded(path)
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
    losses = [record for task, of_task in tuned.items() for each in of_task for record in _records(task, each, found)]
    write_tuned(path / TUNING, losses)
    return TunedRun(path / TUNING, losses)


def require_tunable(
    run: str | Path, *, top: int = 5, trials: int = 20, seeds: int = 2, baselines: Sequence[str] | None = None
) -> None:
    """Raise what ``tune`` does for what it cannot do, before hours are spent on a random search."""
    _to_tune(Path(run), top, trials, seeds, baselines)


def _to_tune(path: Path, top: int, trials: int, seeds: int, baselines: Sequence[str] | None) -> _Found:
    """What a search found, once it is known that it can be tuned so."""
    require_counts(top=top, seeds=seeds)
    if trials < 2:
        raise UserError(f"Expected trials to be 2 or more, the first of which are the defaults, got {trials}.")
    found = _found("found", path, top)
    _declared(RunDirectory.recorded(path), [found], baselines, trials, seeds)
    return found


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
    begun = (path / RunDirectory.FILE).exists()
    if begun and _is_finished(path, declared):
        return
    search(declared, run_dir=path, resume=begun, force=begun, executor=executor, ray_address=ray_address, view=view)


def _is_finished(path: Path, declared: Experiment) -> bool:
    """Whether the search in a directory has ended, with the budget that is declared now."""
    ended = any(event.get("event") == "ended" for event in logged_events(path / "log.jsonl"))
    return ended and RunDirectory.recorded(path).evolution == declared.evolution


def require_counts(**counts: int) -> None:
    """Raise UserError unless each of these is 1 or more."""
    for name, count in counts.items():
        if count < 1:
            raise UserError(f"Expected {name} to be 1 or more, got {count}.")


def _found(kind: Kind, path: Path, top: int) -> _Found:
    board = Leaderboard(path)
    counts = board.counts()
    trained = counts.get("evaluated", 0) + counts.get("stopped", 0) + counts.get("failed", 0)
    return _Found(kind, survivors(board, top), trained)


def _declared(
    experiment: Experiment, found: Sequence[_Found], baselines: Sequence[str] | None, trials: int, seeds: int
) -> Comparison:
    """The comparison that the tuning is a part of: every loss on every task of the search."""
    known = suitable_baselines(experiment) if baselines is None else list(baselines)
    if not known:
        raise UserError("Expected known losses to tune beside those of the search, got none. Leave baselines out.")
    losses = [each.loss for one in found for each in one.survivors]
    declared = {
        "name": f"{experiment.name[:57]}-tuning",
        "tasks": list(experiment.tasks),
        "losses": [*known, *(each for each in dict.fromkeys(losses) if each not in known)],
        "baseline": known[0],
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
    resume = goes_on(path, declared, view)
    with running(ComparisonDirectory, declared, path, resume, TuningInterrupted) as directory:
        comparing = Comparing(declared, directory, workers, view)
        comparing.restore()
        view.started(path)
        return comparing.tune()


def _records(task: str, tuned: Tuned, found: Sequence[_Found]) -> Iterator[TunedLoss]:
    """The records of a tuned loss: one for each search that found it, or that of a known loss."""
    known = TunedLoss(
        task=task,
        kind="baseline",
        rank=None,
        loss=tuned.loss,
        formula=tuned.candidate.formula,
        settings=TunedLoss.settings_text(tuned.settings),
        value=tuned.value,
        trials=tuned.trials,
        pruned=tuned.pruned,
        chosen_from=None,
    )
    ranks = [(one, each.rank) for one in found for each in one.survivors if each.loss == tuned.loss]
    for one, rank in ranks:
        yield replace(known, kind=one.kind, rank=rank, chosen_from=one.chosen_from)
    if not ranks:
        yield known
