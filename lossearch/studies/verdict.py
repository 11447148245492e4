"""Judge the tuned losses of a search: fresh seeds, the test split, a second network and a second task family."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.networks import Network
from lossearch.evaluators.networks.registry import require_network
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.tasks.metrics import MEAN_IOU
from lossearch.evaluators.tasks.own_data import own_data
from lossearch.evaluators.tasks.task import Task
from lossearch.primitives.arguments import (
    refuse_unknown_arguments,
    require_count,
    require_distinct_list,
    require_path,
    require_text,
)
from lossearch.primitives.errors import Argument, UserError
from lossearch.primitives.language.parser import parse
from lossearch.primitives.language.terminals import TERMINALS
from lossearch.results.findings.tuned_losses import TunedLoss, read_tuned
from lossearch.results.findings.verdict_table import VerdictTable, scene_folder
from lossearch.results.findings.verdicts import Judged, SceneMeasurements, verdicts
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import Measurement
from lossearch.results.statistics.intervals import mean
from lossearch.runs.declaration import ARGUMENTS
from lossearch.runs.directory import RunDirectory
from lossearch.runs.estimate import Trainings, later_time
from lossearch.runs.experiment import Experiment, full_training
from lossearch.runs.named_loss import candidate_of
from lossearch.runs.own_paths import name_own_data
from lossearch.runs.session import require_data, require_workers
from lossearch.runs.views import View, require_view
from lossearch.studies.compare import ComparisonStudy, set_aside_other
from lossearch.studies.comparison import Comparison, ComparisonDirectory, validated_comparison
from lossearch.studies.runner import open_workers, run_study
from lossearch.studies.tune import TUNING

#: The folder of a run that holds its verdicts, and in it a comparison for each scene.
VERDICT = "verdict"

#: Learning rates that each loss tries in a scene that it was not tuned in.
RATES = 6

#: The second network for each network of a search: as different as the small networks can be.
_SECOND_NETWORK: dict[str, Network] = {"mlp": "cnn", "cnn": "resnet", "resnet": "cnn", "dense": "fcn"}

SceneName = Literal["own", "second network", "second task"]


@dataclass(frozen=True)
class Scene:
    """A task on which losses are judged, and the full training there."""

    name: SceneName
    task: str
    fidelity: TrainingSettings

    @property
    def folder(self) -> str:
        """Name of its directory."""
        return scene_folder(self.name, self.task)


@dataclass(frozen=True)
class JudgedRun:
    """The verdicts of a run, and the directory that keeps them."""

    path: Path
    table: VerdictTable


@refuse_unknown_arguments
def verdict(
    run: str | Path,
    *,
    seeds: int = 20,
    top: int = 3,
    network: str | None = None,
    tasks: Sequence[str | Path] | None = None,
    executor: str | None = None,
    ray_address: str | None = None,
    view: View | None = None,
) -> JudgedRun:
    """Judge losses of a search on the test split, under ``seeds`` fresh seeds that chose nothing.

    The ``top`` tuned losses by the validation split are judged. They are compared with all known losses that were
    tuned, and with the best of the random search.

    There are three scenes: the search's own task; the same task with a second ``network``; and second ``tasks``, by
    default one of another family on data of the same kind, [] for none. A task may be the path of a folder of images or
    of an ``.npz`` file. ``plan_scenes`` names the scenes beforehand. In the last two a loss keeps its tuned constants,
    and its learning rate is tuned anew. Verdicts are written scene by scene, and the same call continues where one was
    stopped.

    Raises UserError, RunDirectoryError, ClusterUnreachable, and StudyInterrupted on Ctrl-C.
    """
    path, seeds, top = _require_options(run, seeds, top, tasks)
    if network is not None:
        require_network(require_text("network", network, "the name of a network"))
    require_view(view)
    require_workers(executor, ray_address)
    experiment = RunDirectory.recorded(path)
    RunDirectory.require_data(path)
    experiment, names = _with_own_second_tasks(experiment, tasks)
    tuned = _select_entering(read_tuned(path / TUNING), top)
    scenes = [(scene, _declared(experiment, scene, tuned, seeds)) for scene in scenes_of(experiment, network, names)]
    for _, declared in scenes:
        require_data(declared, declared.tasks, test=True)
    table = VerdictTable([])
    with open_workers(experiment.executor, executor, ray_address) as workers:
        for scene, declared in scenes:
            measurements = _measure(declared, path / VERDICT / scene.folder, workers, view)
            lines = verdicts(_with_roles(measurements, experiment, scene, tuned))
            table = VerdictTable([*table.lines, *lines])
            table.write(path / VERDICT)
    return JudgedRun(path / VERDICT, table)


def _require_options(run: object, seeds: object, top: object, tasks: object) -> tuple[Path, int, int]:
    """Return run, seeds and top as plain values. Raises UserError, also for tasks that are no list of names."""
    if tasks is not None:
        require_distinct_list("tasks", tasks, "second tasks")
    path = require_path("run", run, "the directory of a search")
    return path, require_count("seeds", seeds, most=1_000), require_count("top", top)


def _with_own_second_tasks(
    experiment: Experiment, tasks: Sequence[str | Path] | None
) -> tuple[Experiment, list[str] | None]:
    """Return the experiment with the data of second tasks that are given as paths, and the names of second tasks."""
    if tasks is None:
        return experiment, None
    names, paths = name_own_data(tasks, [*experiment.data, *experiment.tasks])
    data = {name: own_data(declared).with_absolute_path() for name, declared in paths.items()}
    return experiment.model_copy(update={"data": {**experiment.data, **data}}), names


def scenes_of(experiment: Experiment, network: str | None = None, tasks: Sequence[str] | None = None) -> list[Scene]:
    """Return the scenes of a search: on its own tasks, with a second network, on second tasks.

    ``network`` and ``tasks`` replace the usual second ones; [] leaves second tasks out. Raises UserError for a network
    or task that does not suit.
    """
    if network is not None:
        require_network(require_text("network", network, "the name of a network"))
    own_scenes = [Scene("own", name, full_training(experiment, name)) for name in experiment.tasks]
    if network is not None and any(scene.fidelity.network == network for scene in own_scenes):
        raise UserError(Argument("network"), f": expected another network than the search's, got {network}.")
    attempts = [_find_scene_on_second_network(experiment, scene, network) for scene in own_scenes]
    on_second_network = [scene for scene in attempts if scene is not None]
    if tasks is None:
        name = _find_second_task(experiment)
        tasks = [] if name is None else [name]
    return [
        *own_scenes,
        *on_second_network,
        *(_make_scene_on_second_task(experiment, name) for name in dict.fromkeys(tasks)),
    ]


def _find_scene_on_second_network(experiment: Experiment, scene: Scene, network: str | None) -> Scene | None:
    """Return the scene on a second network; None if no usual one suits the task.

    Raises UserError if the network that was asked for does not suit.
    """
    chosen: Any = network or _SECOND_NETWORK.get(scene.fidelity.network)
    if chosen is None:
        return None
    fidelity = TrainingSettings.model_validate(scene.fidelity.model_dump() | {"network": chosen})
    obstacle = experiment.task_named(scene.task).obstacle(fidelity)
    if obstacle is not None and network is not None:
        raise UserError(obstacle)
    return None if obstacle is not None else Scene("second network", scene.task, fidelity)


def _find_second_task(experiment: Experiment) -> str | None:
    """Return a second task without download: the clean task of the same data, else the noisy one, else shapes.

    Its data is of the same kind, images for images. There is none for a table.
    """
    for name in experiment.tasks:
        data, dimensions = name.split("_")[0], len(experiment.task_named(name).shape)
        for second in (data, f"{data}_noisy", "shapes"):
            is_new = second in TASKS and second not in experiment.tasks and not TASKS[second].needs_download
            if is_new and len(TASKS[second].shape) == dimensions:
                return second
    return None


def plan_scenes(
    run: str | Path,
    *,
    seeds: int = 20,
    top: int = 3,
    network: str | None = None,
    tasks: Sequence[str | Path] | None = None,
) -> list[tuple[Scene, int]]:
    """Return the scenes of a verdict, each with the number of its trainings, tuning included."""
    path, seeds, top = _require_options(run, seeds, top, tasks)
    experiment, names = _with_own_second_tasks(RunDirectory.recorded(path), tasks)
    tuned = _select_entering(read_tuned(path / TUNING), top)
    planned = []
    for scene in scenes_of(experiment, network, names):
        declared = _declared(experiment, scene, tuned, seeds)
        planned.append((scene, len(declared.all_losses()) * (declared.seeds + declared.trainings_of_tuning)))
    return planned


def estimate_verdict(
    run: str | Path,
    planned: Sequence[tuple[Scene, int]],
    tasks: Sequence[str | Path] | None = None,
    executor: str | None = None,
) -> str:
    """Return a sentence about the time that the scenes of ``plan_scenes`` take."""
    experiment, _ = _with_own_second_tasks(RunDirectory.recorded(Path(run)), tasks)
    trainings = [Trainings(scene.task, scene.fidelity, number) for scene, number in planned]
    return later_time(experiment, Leaderboard(Path(run)).evaluations, trainings, executor)


def _make_scene_on_second_task(experiment: Experiment, name: str) -> Scene:
    task = experiment.task_named(name)
    if name in experiment.tasks:
        raise UserError(f"Expected a second task that the search was not on, got {name}.")
    return Scene("second task", name, task.fidelity)


def _select_entering(tuned: Sequence[TunedLoss], top: int) -> list[TunedLoss]:
    """Return the losses that are judged and those that they are compared with, best first, on every task.

    Losses are ranked by their mean over the tasks. Raises UserError if every loss of the search failed.
    """
    values: dict[str, list[float]] = {}
    for loss in tuned:
        values.setdefault(loss.loss, []).append(-math.inf if loss.value is None else loss.value)
    ranked = sorted(tuned, key=lambda loss: -mean(values[loss.loss]))
    discovered = list(dict.fromkeys(loss.loss for loss in ranked if loss.kind == "found" and loss.value is not None))
    at_random = [loss.loss for loss in ranked if loss.kind == "random search" and loss.value is not None]
    if not discovered:
        raise UserError("Expected a loss of the search that was tuned without failing, got none. Tune more of them.")
    entering = {"found": discovered[:top], "random search": at_random[:1]}
    return [loss for loss in ranked if loss.kind == "baseline" or loss.loss in entering[loss.kind]]


def _declared(experiment: Experiment, scene: Scene, tuned: Sequence[TunedLoss], seeds: int) -> Comparison:
    """Declare the comparison of one scene: every tuned loss with its settings."""
    losses = _select_tuned(scene, experiment, tuned)
    is_new = scene.name != "own"
    settings = {loss.loss: _select_settings(loss.settings_by_name(), is_new) for loss in losses}
    declared = {
        "name": f"{experiment.name[:40]}-{scene.folder[:23]}",
        "tasks": [scene.task],
        "losses": list(dict.fromkeys(loss.loss for loss in losses)),  # both searches may have the same best loss
        "baseline": losses[0].loss,
        "seeds": seeds,
        "seed": experiment.seed,
        "tune": RATES if is_new else 0,
        "settings": {scene.task: settings},
        "data": {name: data.model_dump() for name, data in experiment.data.items() if name == scene.task},
        "fidelity_of": {scene.task: scene.fidelity.model_dump(exclude={"seeds"})},
        "executor": experiment.executor.model_dump(),
    }
    return validated_comparison(declared, ARGUMENTS)


def _select_settings(settings: Mapping[str, float], is_new: bool) -> dict[str, float]:
    """Return the settings that a loss keeps in a scene: in a new one all but the learning rate."""
    return {name: value for name, value in settings.items() if not is_new or name != "learning_rate"}


def _select_tuned(scene: Scene, experiment: Experiment, tuned: Sequence[TunedLoss]) -> list[TunedLoss]:
    """List the losses whose inputs the scene's task can give, as tuned on it or on the search's first task."""
    searched_on = _find_searched_task(experiment, scene).name
    gives = experiment.task_named(scene.task).gives
    return [
        loss for loss in tuned if loss.task == searched_on and parse(loss.formula).names & TERMINALS.keys() <= gives
    ]


def _find_searched_task(experiment: Experiment, scene: Scene) -> Task:
    """Return the scene's task if the search was on it, else the search's first one."""
    return experiment.task_named(scene.task if scene.task in experiment.tasks else experiment.tasks[0])


def _measure(declared: Comparison, path: Path, workers: Executor, view: View | None) -> list[Measurement]:
    """Measure every loss of a scene, or read what was measured."""

    def measure_losses(run: ComparisonDirectory, view: View) -> list[Measurement]:
        study = ComparisonStudy(declared, run, workers, view)
        study.restore()
        measurements = study.measure()
        run.save_table(study.table(measurements))
        return measurements

    set_aside_other(path, declared, view)
    return run_study("verdict", ComparisonDirectory, declared, path, measure_losses, view, force=True)


def _with_roles(
    measurements: Sequence[Measurement], experiment: Experiment, scene: Scene, tuned: Sequence[TunedLoss]
) -> SceneMeasurements:
    """Say which losses of a scene are judged, which are baselines and which is the random search's."""
    losses = _select_tuned(scene, experiment, tuned)
    discovered = [loss for loss in losses if loss.kind == "found"]
    at_random = next((loss for loss in losses if loss.kind == "random search"), None)
    baselines = [loss for loss in losses if loss.kind == "baseline"]
    return SceneMeasurements(
        name=scene.name,
        measurements=measurements,
        judged=[Judged(_get_name_in_records(loss), loss.rank) for loss in discovered],
        baselines=[_get_name_in_records(loss) for loss in baselines],
        favourite=_get_name_in_records(baselines[0]),
        random_search=None if at_random is None else _get_name_in_records(at_random),
        chosen_from=max((loss.chosen_from or 0 for loss in discovered), default=0),
        validation_samples=samples_of_validation(_find_searched_task(experiment, scene)),
    )


def _get_name_in_records(tuned: TunedLoss) -> str:
    return candidate_of(tuned.loss).called


def samples_of_validation(task: Task) -> int | None:
    """Count the samples, or pairs, of a task's validation split; None for a metric that does not count them."""
    if task.metric is MEAN_IOU:
        return None
    split = task.load().validation
    return len(split) if split.pairs is None else len(split.pairs.same)
