"""The plan of a search, as text: data, networks, size and time, and whether its starting losses pass the screening."""

import os
import random
import zipfile
from collections.abc import Iterator

from lossearch.engine.admission import Admission, Refusal
from lossearch.engine.breeding import birth_of_named
from lossearch.engine.search_loop import planned_trainings
from lossearch.engine.warning_signs import warn_of_inputs
from lossearch.evaluators.device import choose_device
from lossearch.evaluators.tasks.arrays import ArrayData
from lossearch.evaluators.tasks.download import require_downloaded
from lossearch.evaluators.tasks.folder import FolderData
from lossearch.evaluators.tasks.task import CPU_IMAGE_TRAINING, Task
from lossearch.evolution.population import Evolution
from lossearch.primitives.errors import UserError
from lossearch.runs.estimate import count_parameters, measured_time
from lossearch.runs.experiment import Experiment

#: Parts that a file of arrays may hold itself.
_PARTS = ("train", "validation", "test")


def plan(experiment: Experiment) -> str:
    """Return the plan of an experiment, in a few lines. Nothing of it is trained, and nothing is written."""
    trainings = planned_trainings(experiment)
    settings, fidelity = experiment.evolution, experiment.training_on(experiment.tasks[0])
    steps = " or ".join(map(str, dict.fromkeys(experiment.training_on(task).steps for task in experiment.tasks)))
    Evolution(settings, [], random.Random(experiment.seed)).ask()  # raises if no random tree keeps the limits
    lines = [
        f"{experiment.name}: {'tasks' if len(experiment.tasks) > 1 else 'task'} {', '.join(experiment.tasks)}, "
        f"seed {experiment.seed}, {experiment.executor.kind} executor"
    ]
    for name in experiment.tasks:
        lines += [*_describe_data(experiment, name), _describe_network(experiment, name)]
    lines.append(
        f"{settings.generations} generations of {settings.population} candidates, {fidelity.seeds} seeds each: "
        f"up to {trainings} trainings of {steps} steps"
    )
    if fidelity.rungs:
        after = ", ".join(map(str, fidelity.rungs))
        lines.append(f"rungs after {after} steps: the best one in {fidelity.reduction_factor} goes on each time")
    lines.append(measured_time(experiment, trainings // fidelity.seeds // len(experiment.tasks)))
    lines.append("starting losses:")
    births = [birth_of_named(text) for text in settings.seeds]
    for birth, decision in zip(births, Admission().screen(births, 0), strict=True):
        refused = f"  ({decision.status}: {decision.reason})" if isinstance(decision, Refusal) else ""
        formula = decision.candidate.formula if isinstance(decision, Refusal) else decision.formula
        lines.append(f"  {birth.name or '':28} {formula}{refused}")
    lines += [f"warning: {message}" for message in warn_of_inputs(experiment, experiment.tasks)]
    return "\n".join(lines)


def _describe_data(experiment: Experiment, name: str) -> Iterator[str]:
    """Yield lines about the data of a task: samples of each split, classes, shape, and where the splits come from."""
    task, data = experiment.task_named(name), experiment.data.get(name)
    shape = "x".join(map(str, task.shape))
    head = f"data of {name}: {task.classes} classes, inputs of {shape}"
    if isinstance(data, FolderData):
        listing, parts = data.reader().divided  # files are listed, not decoded
        sizes = {part: len(files) for part, files in parts.items()}
        source = "given by the folders" if listing.is_split else "divided here, class by class, always in the same way"
        yield f"{head}, {_join_sizes(sizes)} images; splits {source}"
        if listing.left_out:
            yield f"  left out: {', '.join(f'{count} {kind}' for kind, count in listing.left_out.items())}"
        yield "  files that give no image are found when the search starts"
        return
    if task.needs_download:
        yield f"{head}, {_describe_published(task)}"
        return
    splits = task.load()
    sizes = {"train": len(splits.train), "validation": len(splits.validation), "test": len(task.load_test())}
    source = "fixed by the task"
    if isinstance(data, ArrayData):
        given = _list_parts(data.arrays)
        missing = [part for part in _PARTS if part not in given]
        divided = "all divided here" if not given else f"{' and '.join(missing)} divided from train"
        source = f"{divided}, class by class, always in the same way" if missing else "given by the file"
    yield f"{head}, {_join_sizes(sizes)} samples; splits {source}"


def _describe_published(task: Task) -> str:
    """Return what is known of published data without decoding it, or that it is missing."""
    try:
        sizes = require_downloaded(task.name)
    except UserError:  # the command says so after the plan
        return f"from {task.data_from}: not on this machine yet"
    return "read when the search starts" if sizes is None else f"{_join_sizes(sizes)} images; splits fixed by the task"


def _describe_network(experiment: Experiment, name: str) -> str:
    """Return a line about the network of a task and its size, and why it was chosen if the file does not say."""
    task, fidelity = experiment.task_named(name), experiment.training_on(name)
    line = (
        f"network on {name}: {fidelity.network}, {count_parameters(task, fidelity):,} parameters, batches of "
        f"{fidelity.batch_size}"
    )
    is_chosen = task.fidelity == CPU_IMAGE_TRAINING == fidelity
    if name in experiment.data and is_chosen and choose_device(experiment.executor.device).type == "cpu":
        line += "; a small one and few steps, since torch sees no GPU here ([fidelity] network = 'resnet' for more)"
    return line


def _join_sizes(sizes: dict[str, int]) -> str:
    return ", ".join(f"{part} {count:,}" for part, count in sizes.items())


def _list_parts(path: str) -> list[str]:
    """Return the parts that a file of arrays holds itself; none if it holds only inputs and targets."""
    if not os.path.isfile(path):
        return []
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
    return [part for part in _PARTS if f"{part}_inputs.npy" in names]
