"""Judges the tuned losses of a search: fresh seeds, the test split, a second network and a second task family."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.networks import NETWORKS, Network
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.tasks.metrics import MEAN_IOU
from lossearch.evaluators.tasks.task import Task
from lossearch.primitives.errors import UserError, nearest, shown
from lossearch.primitives.language.parser import parse
from lossearch.primitives.language.terminals import TERMINALS
from lossearch.results.findings.tuned_losses import TunedLoss, read_tuned
from lossearch.results.findings.verdict_table import VerdictTable
from lossearch.results.findings.verdicts import Judged, Scene, verdicts
from lossearch.results.statistics.intervals import mean
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment, full_training
from lossearch.runs.named_loss import candidate_of
from lossearch.runs.session import RunInterrupted, executor_for, require_data, running
from lossearch.runs.views import ComparisonView, SilentComparison
from lossearch.studies.compare import Comparing, goes_on
from lossearch.studies.comparison import Comparison, ComparisonDirectory, validated_comparison
from lossearch.studies.tune import TUNING, require_counts

# --- Scenes: where the losses of a search are judged: its own task, a second network there, and a second task family.

Name = Literal["own", "second network", "second task"]


#: The network that stands in for another, of a kind as different as there is among the small ones.
_SECOND_NETWORK: dict[str, Network] = {"mlp": "cnn", "cnn": "resnet", "resnet": "cnn", "dense": "fcn"}


@dataclass(frozen=True)
class Place:
    """One scene: a task, and the full training there."""

    name: Name
    task: str
    fidelity: TrainingSettings

    @property
    def folder(self) -> str:
        """What its directory is called."""
        return folder_of(self.name, self.task)


def folder_of(scene: str, task: str) -> str:
    """What the directory of a scene of this name on a task is called."""
    return f"{scene} {task}".replace(" ", "_")


def places(experiment: Experiment, network: str | None = None, tasks: Sequence[str] | None = None) -> list[Place]:
    """Where the losses of a search are judged; ``network`` and ``tasks`` replace the second ones, [] leaves them out.

    Raises UserError where a network or task does not suit.
    """
    if network is not None and network not in NETWORKS:
        raise UserError(
            f"--network: expected the name of a network, got {shown(network)!r}{nearest(network, NETWORKS)}."
        )
    own = [Place("own", name, full_training(experiment, name)) for name in experiment.tasks]
    if network is not None and any(each.fidelity.network == network for each in own):
        raise UserError(f"--network: expected another network than the search's, got {network}.")
    second = [each for each in (_on_second_network(experiment, place, network) for place in own) if each]
    if tasks is None:
        found = _second_task(experiment)
        tasks = [] if found is None else [found]
    return [*own, *second, *(_on_second_task(experiment, name) for name in dict.fromkeys(tasks))]


def _on_second_network(experiment: Experiment, own: Place, network: str | None) -> Place | None:
    chosen: Any = network or _SECOND_NETWORK.get(own.fidelity.network)
    if chosen is None:
        return None
    fidelity = TrainingSettings.model_validate(own.fidelity.model_dump() | {"network": chosen})
    obstacle = experiment.task_named(own.task).obstacle(fidelity)
    if obstacle is not None and network is not None:
        raise UserError(obstacle)
    return None if obstacle is not None else Place("second network", own.task, fidelity)


def _second_task(experiment: Experiment) -> str | None:
    """A task of another family without download: the clean one of the same data, and for that the noisy one."""
    for name in experiment.tasks:
        data = name.split("_")[0]
        for other in (data, f"{data}_noisy", "shapes"):
            if other in TASKS and other not in experiment.tasks and not TASKS[other].needs_download:
                return other
    return None


def _on_second_task(experiment: Experiment, name: str) -> Place:
    task = experiment.task_named(name)
    if name in experiment.tasks:
        raise UserError(f"Expected a second task that the search was not on, got {name}.")
    return Place("second task", name, task.fidelity)


#: The folder of a run that holds its verdicts, and in it a comparison for each scene.
VERDICT = "verdict"

#: Learning rates tried of each loss in a scene that it was not tuned in.
RATES = 6


class VerdictInterrupted(RunInterrupted):
    """Judging was stopped from outside; the same call goes on."""


@dataclass(frozen=True)
class JudgedRun:
    """The verdicts of a run, and where they are kept."""

    path: Path
    table: VerdictTable


def verdict(
    run: str | Path,
    *,
    seeds: int = 20,
    top: int = 3,
    network: str | None = None,
    tasks: Sequence[str] | None = None,
    executor: str | None = None,
    ray_address: str | None = None,
    view: ComparisonView | None = None,
) -> JudgedRun:
    """Judge losses of a search under ``seeds`` fresh seeds on the test split, by which nothing was chosen.

    They are the ``top`` ones of those that were tuned, by the validation split; beside them stand all known losses that
    were tuned, and the best of the random search.

    Three scenes: the search's own task; the same with a second ``network``; and second ``tasks`` of another family,
    [] for none. In the second ones a loss keeps its tuned constants, and each gets a learning rate that suits it there.
    Verdicts are written scene by scene, and the same call goes on where one was stopped.

    Raises UserError, RunDirectoryError, ClusterUnreachable, and VerdictInterrupted on Ctrl-C.
    """
    require_counts(seeds=seeds, top=top)
    path = Path(run)
    experiment = RunDirectory.recorded(path)
    tuned = _entering(read_tuned(path / TUNING), top)
    scenes = [(place, _declared(experiment, place, tuned, seeds)) for place in places(experiment, network, tasks)]
    for _, declared in scenes:
        require_data(declared, declared.tasks, test=True)
    workers = executor_for(experiment.executor, executor, ray_address)
    table = VerdictTable([])
    try:
        for place, declared in scenes:
            scene = _scene(experiment, place, declared, tuned, path / VERDICT / place.folder, workers, view)
            table = VerdictTable([*table.lines, *verdicts(scene)])
            table.write(path / VERDICT)
    finally:
        workers.close()
    return JudgedRun(path / VERDICT, table)


def _entering(tuned: Sequence[TunedLoss], top: int) -> list[TunedLoss]:
    """The losses that are judged, best first, and what they are held against, on the first task and the others.

    Which are the best is decided by the mean over the tasks. Raises UserError where every one failed.
    """
    values: dict[str, list[float]] = {}
    for each in tuned:
        values.setdefault(each.loss, []).append(-math.inf if each.value is None else each.value)
    by_value = sorted(tuned, key=lambda each: -mean(values[each.loss]))
    found = list(dict.fromkeys(each.loss for each in by_value if each.kind == "found" and each.value is not None))
    at_random = [each.loss for each in by_value if each.kind == "random search" and each.value is not None]
    if not found:
        raise UserError("Expected a loss of the search that was tuned without failing, got none. Tune more of them.")
    entering = {"found": found[:top], "random search": at_random[:1]}
    return [each for each in by_value if each.kind == "baseline" or each.loss in entering[each.kind]]


def _declared(experiment: Experiment, place: Place, tuned: Sequence[TunedLoss], seeds: int) -> Comparison:
    """The comparison of one scene: every tuned loss with its settings."""
    own = _of_task(place, experiment, tuned)
    anew = place.name != "own"
    declared = {
        "name": f"{experiment.name[:40]}-{place.folder[:23]}",
        "tasks": [place.task],
        "losses": list(dict.fromkeys(each.loss for each in own)),  # the best of both searches may be one
        "baseline": own[0].loss,
        "seeds": seeds,
        "seed": experiment.seed,
        "tune": RATES if anew else 0,
        "settings": {place.task: {each.loss: _kept(each.settings_by_name(), anew) for each in own}},
        "data": {name: each.model_dump() for name, each in experiment.data.items() if name == place.task},
        "fidelity_of": {place.task: place.fidelity.model_dump(exclude={"seeds"})},
        "executor": experiment.executor.model_dump(),
    }
    return validated_comparison(declared, "verdict")


def _of_task(place: Place, experiment: Experiment, tuned: Sequence[TunedLoss]) -> list[TunedLoss]:
    """The losses as they were tuned on the scene's task, or elsewhere as on the search's first one."""
    task = _searched_on(experiment, place).name
    gives = experiment.task_named(place.task).gives
    own = [each for each in tuned if each.task == task]
    return [each for each in own if _looks_at_given(each.formula, gives)]


def _looks_at_given(text: str, gives: frozenset[str]) -> bool:
    return parse(text).names & TERMINALS.keys() <= gives


def _kept(settings: Mapping[str, float], anew: bool) -> dict[str, float]:
    """The settings that stay: all, or those that are no learning rate."""
    return {name: value for name, value in settings.items() if not anew or name != "learning_rate"}


def _scene(
    experiment: Experiment,
    place: Place,
    declared: Comparison,
    tuned: Sequence[TunedLoss],
    path: Path,
    workers: Executor,
    view: ComparisonView | None,
) -> Scene:
    """Measure every loss in a scene, or recall what was measured."""
    view = view or SilentComparison()
    resume = goes_on(path, declared, view)
    with running(ComparisonDirectory, declared, path, resume, VerdictInterrupted, force=True) as directory:
        comparing = Comparing(declared, directory, workers, view)
        comparing.restore()
        comparing.view.started(path)
        measurements = comparing.execute()
        directory.save_table(comparing.table(measurements))
    own = _of_task(place, experiment, tuned)
    found = [each for each in own if each.kind == "found"]
    best = next((each for each in own if each.kind == "random search"), None)
    baselines = [each for each in own if each.kind == "baseline"]
    return Scene(
        name=place.name,
        measurements=measurements,
        judged=[Judged(_called(each), each.rank) for each in found],
        baselines=[_called(each) for each in baselines],
        favourite=_called(baselines[0]),
        random_search=None if best is None else _called(best),
        chosen_from=max((each.chosen_from or 0 for each in found), default=0),
        validation_samples=samples_of_validation(_searched_on(experiment, place)),
    )


def _called(tuned: TunedLoss) -> str:
    """What the loss is called in the records of a comparison."""
    return candidate_of(tuned.loss).called


def _searched_on(experiment: Experiment, place: Place) -> Task:
    """The scene's task where the search was on it, else the search's first one."""
    return experiment.task_named(place.task if place.task in experiment.tasks else experiment.tasks[0])


def samples_of_validation(task: Task) -> int | None:
    """Samples, or pairs, of a task's validation split; None for a metric that does not count them."""
    if task.metric is MEAN_IOU:
        return None
    split = task.load().validation
    return len(split) if split.pairs is None else len(split.pairs.same)
