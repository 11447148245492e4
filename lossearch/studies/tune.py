"""Tune the survivors of a search, and with the same budget known losses and the best of a random search."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lossearch.engine.launch import search
from lossearch.primitives.arguments import (
    refuse_unknown_arguments,
    require_count,
    require_distinct_list,
    require_flag,
    require_path,
    require_whole,
)
from lossearch.primitives.errors import Argument, UserError
from lossearch.results.findings.tuned_losses import Kind, TunedLoss, write_tuned
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.storage.run_files import logged_events
from lossearch.runs.declaration import ARGUMENTS
from lossearch.runs.directory import RunDirectory
from lossearch.runs.estimate import Trainings, later_time
from lossearch.runs.experiment import Experiment, full_training
from lossearch.runs.session import require_data, require_workers
from lossearch.runs.views import View, require_view
from lossearch.studies.compare import ComparisonStudy, set_aside_other
from lossearch.studies.comparison import Comparison, ComparisonDirectory, validated_comparison
from lossearch.studies.runner import open_workers, run_study
from lossearch.studies.survivors import Survivor, suitable_baselines, survivors
from lossearch.studies.tuning import Tuned

#: Folders of a run: the tuned losses, and the random search to compare with.
TUNING, RANDOM_SEARCH = "tuning", "random_search"

#: Seeds under which the best settings of each loss are trained again, to choose the losses that are judged.
CONFIRM = 6


@dataclass(frozen=True)
class TunedRun:
    """The tuned losses of a run, and the directory that keeps them."""

    path: Path
    losses: list[TunedLoss]


@dataclass(frozen=True)
class _Options:
    """The budget of a tuning; ``baselines`` are None for all that suit."""

    top: int
    trials: int
    seeds: int
    baselines: list[str] | None


@dataclass(frozen=True)
class _SearchResult:
    """The survivors of a search, and the number of candidates that it trained."""

    kind: Kind
    survivors: Sequence[Survivor]
    chosen_from: int


@refuse_unknown_arguments
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
    view: View | None = None,
) -> TunedRun:
    """Tune the ``top`` losses of a finished search over their constants and the learning rate.

    Each loss gets ``trials`` settings under ``seeds`` seeds, in full trainings, scored on the validation split. Known
    losses get the same budget: all that suit the task, or the ``baselines`` that are named. The best settings of each
    loss are trained again under further seeds, which estimate their worth. With ``random_search``, a search by random
    trees alone trains the same number of candidates first, and its best are tuned as well. If the search was resumed
    for more generations, so is the random one.

    Everything is kept in the run's directory, and the same call continues where one was stopped.

    Raises UserError, RunDirectoryError, ClusterUnreachable, and StudyInterrupted or SearchInterrupted on Ctrl-C.
    """
    path, options = _require_options(run, top, trials, seeds, baselines)
    random_search = require_flag("random_search", random_search)
    require_view(view)
    require_workers(executor, ray_address)
    searches = [_read_tunable(path, options)]
    experiment = RunDirectory.recorded(path)
    if random_search:
        search_at_random(path, executor=executor, ray_address=ray_address, view=view)
        searches.append(_read_search_result("random search", path / RANDOM_SEARCH, options.top))
    declared = _declared(experiment, searches, options)
    require_data(declared, declared.tasks)
    with open_workers(experiment.executor, executor, ray_address) as workers:

        def tune_losses(directory: ComparisonDirectory, view: View) -> dict[str, list[Tuned]]:
            study = ComparisonStudy(declared, directory, workers, view)
            study.restore()
            return study.tune()

        set_aside_other(path / TUNING, declared, view)
        tuned = run_study("tuning", ComparisonDirectory, declared, path / TUNING, tune_losses, view)
    losses = [
        record for task, on_task in tuned.items() for loss in on_task for record in _make_records(task, loss, searches)
    ]
    write_tuned(path / TUNING, losses)
    return TunedRun(path / TUNING, losses)


def estimate_tuning(
    run: str | Path,
    *,
    top: int = 5,
    trials: int = 20,
    seeds: int = 2,
    baselines: Sequence[str] | None = None,
    random_search: bool = True,
    executor: str | None = None,
) -> str:
    """Return a sentence about the time that ``tune`` takes. Raises the UserError that it would raise."""
    path, options = _require_options(run, top, trials, seeds, baselines)
    result, experiment = _read_tunable(path, options), RunDirectory.recorded(path)
    declared = _declared(experiment, [result], options)
    losses = len(declared.all_losses()) + (len(result.survivors) if random_search else 0)
    planned = [
        Trainings(task, declared.training_on(task), losses * declared.trainings_of_tuning) for task in declared.tasks
    ]
    is_to_search = random_search and not _is_finished_at(path / RANDOM_SEARCH, random_experiment(experiment))
    return later_time(experiment, Leaderboard(path).evaluations, planned, executor, searches=int(is_to_search))


def _require_options(
    run: object, top: object, trials: object, seeds: object, baselines: object
) -> tuple[Path, _Options]:
    """Return the directory and the options of a call as plain values. Raises UserError."""
    path = require_path("run", run, "the directory of a search")
    num_trials = require_whole("trials", trials, "of 2 or more")
    if num_trials < 2:
        raise UserError(
            "Expected ", Argument("trials"), f" to be 2 or more, since the defaults are the first, got {num_trials}."
        )
    known = None if baselines is None else require_distinct_list("baselines", baselines, "known losses")
    return path, _Options(require_count("top", top), num_trials, require_count("seeds", seeds, most=1_000), known)


def random_experiment(experiment: Experiment) -> Experiment:
    """Return the same search with random trees as its only children: the same number of candidates, none bred."""
    evolution = experiment.evolution.model_copy(update={"random_trees": 1.0})
    return experiment.model_copy(update={"name": f"{experiment.name[:57]}-random", "evolution": evolution})


def search_at_random(
    run: str | Path, *, executor: str | None = None, ray_address: str | None = None, view: View | None = None
) -> None:
    """Search by random trees alone with the budget of a run, in its directory; continue a search that was stopped.

    Raises what ``search`` raises.
    """
    path = Path(run) / RANDOM_SEARCH
    declared = random_experiment(RunDirectory.recorded(Path(run)))
    begun = (path / RunDirectory.FILE).exists()
    if _is_finished_at(path, declared):
        return
    search(declared, run_dir=path, resume=begun, force=begun, executor=executor, ray_address=ray_address, view=view)


def _is_finished_at(path: Path, declared: Experiment) -> bool:
    """Return True if the search in a directory has ended, with the budget that is declared now."""
    if not (path / RunDirectory.FILE).exists():
        return False
    ended = any(logged_events(path / "log.jsonl", "ended"))
    return ended and RunDirectory.recorded(path).evolution == declared.evolution


def _read_tunable(path: Path, options: _Options) -> _SearchResult:
    """Return the result of a search. Raises UserError if it cannot be tuned with these options."""
    result = _read_search_result("found", path, options.top)
    RunDirectory.require_data(path)
    _declared(RunDirectory.recorded(path), [result], options)
    return result


def _read_search_result(kind: Kind, path: Path, top: int) -> _SearchResult:
    board = Leaderboard(path)
    return _SearchResult(kind, survivors(board, top), board.candidate_counts().trained)


def _declared(experiment: Experiment, searches: Sequence[_SearchResult], options: _Options) -> Comparison:
    """Declare the comparison that holds the tuning: every loss on every task of the search."""
    given = options.baselines
    known = suitable_baselines(experiment) if given is None else list(dict.fromkeys(given))
    if not known:
        raise UserError(
            "Expected known losses to tune beside those of the search, got none. Leave ", Argument("baselines"), " out."
        )
    losses = [survivor.loss for result in searches for survivor in result.survivors]
    declared = {
        "name": f"{experiment.name[:57]}-tuning",
        "tasks": list(experiment.tasks),
        "losses": [*known, *(loss for loss in dict.fromkeys(losses) if loss not in known)],
        "baseline": known[0],
        "seed": experiment.seed,
        "tune": options.trials,
        "tune_seeds": options.seeds,
        "confirm": CONFIRM,
        "data": {name: data.model_dump() for name, data in experiment.data.items()},
        "fidelity_of": {
            name: full_training(experiment, name).model_dump(exclude={"seeds"}) for name in experiment.tasks
        },
        "executor": experiment.executor.model_dump(),
    }
    return validated_comparison(declared, ARGUMENTS)


def _make_records(task: str, tuned: Tuned, searches: Sequence[_SearchResult]) -> Iterator[TunedLoss]:
    """Yield the records of a tuned loss: one for each search that found it, or one as a baseline."""
    baseline = TunedLoss(
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
    found_by = [
        (result, survivor.rank) for result in searches for survivor in result.survivors if survivor.loss == tuned.loss
    ]
    for result, rank in found_by:
        yield replace(baseline, kind=result.kind, rank=rank, chosen_from=result.chosen_from)
    if not found_by:
        yield baseline
