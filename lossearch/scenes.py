"""Scenes: where the losses of a search are judged: its own task, a second network there, and a second task family."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lossearch.evaluators.fidelity import Fidelity
from lossearch.evaluators.networks import NETWORKS, Network
from lossearch.evaluators.tasks import TASKS
from lossearch.experiment import Experiment
from lossearch.primitives.errors import UserError, nearest, shown

Name = Literal["own", "second network", "second task"]

#: The network that stands in for another, of a kind as different as there is among the small ones.
_SECOND_NETWORK: dict[str, Network] = {"mlp": "cnn", "cnn": "resnet", "resnet": "cnn", "dense": "fcn"}


@dataclass(frozen=True)
class Place:
    """One scene: a task, and the full training there."""

    name: Name
    task: str
    fidelity: Fidelity

    @property
    def folder(self) -> str:
        """What its directory is called."""
        return folder_of(self.name, self.task)


def folder_of(scene: str, task: str) -> str:
    """What the directory of a scene of this name on a task is called."""
    return f"{scene} {task}".replace(" ", "_")


def full_training(experiment: Experiment, task: str) -> Fidelity:
    """The training that losses are judged by: the search's own, to its end and no shorter than the task's."""
    proxy, full = experiment.training_on(task), experiment.task_named(task).fidelity
    if proxy.steps >= full.steps or proxy.schedule == "step":
        return proxy.model_copy(update={"rungs": ()})
    return proxy.model_copy(update={"rungs": (), "steps": full.steps})


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
    fidelity = Fidelity.model_validate(own.fidelity.model_dump() | {"network": chosen})
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
