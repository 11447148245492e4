"""Estimate the time of a search: a few steps of cross-entropy on drawn inputs of the task's shape, on this machine.

Trainings after a search take the seconds for each step that its records hold.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch

from lossearch.evaluators.cohort.cohort import Cohort, find_batching_obstacle
from lossearch.evaluators.data.splits import Split, Splits
from lossearch.evaluators.device import choose_device, one_thread
from lossearch.evaluators.networks.registry import NETWORKS
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.plan import TrainingPlan
from lossearch.evaluators.training.training import Training
from lossearch.loss_module import loss
from lossearch.primitives.errors import UserError
from lossearch.primitives.language.parser import parse
from lossearch.results.records import Evaluation
from lossearch.runs.experiment import Experiment
from lossearch.runs.timing import in_words

#: Steps that are measured, after one that is not; fewer if a step takes long.
STEPS, SECONDS = 8, 0.5

#: Number of trainings that are measured together, if the network has at most so many parameters.
TOGETHER, LARGEST_TOGETHER = 16, 100_000


def count_parameters(task: Task, fidelity: TrainingSettings) -> int:
    """Count the parameters of the network and of the linear head above it."""
    backbone = NETWORKS[fidelity.network](task.shape, fidelity.hidden, torch.Generator().manual_seed(0))
    return sum(weights.numel() for weights in backbone.parameters()) + (fidelity.hidden + 1) * task.classes


def measure_step(task: Task, fidelity: TrainingSettings, device: str) -> float:
    """Return the seconds of one step of one training under cross-entropy, without data of the task.

    Small networks are measured as they are trained, several together.
    """
    drawn = _draw_split(task, fidelity.batch_size)
    stand_in = replace(task, load=lambda: Splits(drawn, drawn))
    changed = {"steps": STEPS + 1, "rungs": (), "milestones": (), "schedule": "constant", "warm_up": 0, "epoch": None}
    settings = TrainingSettings.model_validate(fidelity.model_dump() | changed)
    chosen = choose_device(device)
    with one_thread():
        together, train = _prepare_trainer(stand_in, settings, chosen)
        train(1)  # the first step loads libraries
        started, steps = time.perf_counter(), 0
        while steps < STEPS and time.perf_counter() - started < SECONDS:
            steps += 1
            train(1 + steps)
        if chosen.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / steps / together


def _prepare_trainer(
    task: Task, settings: TrainingSettings, device: torch.device
) -> tuple[int, Callable[[int], object]]:
    """Return a number of trainings, and the function that trains them up to a step."""
    if find_batching_obstacle(task, settings) is not None or count_parameters(task, settings) > LARGEST_TOGETHER:
        return 1, Training(loss("cross_entropy"), task, settings, 0, 1.0, device).run
    formulas = [parse("ce(z)")] * TOGETHER
    cohort = Cohort(TrainingPlan(formulas, None, task, settings.model_copy(update={"seeds": 1}), [0], device))
    return TOGETHER, lambda until: cohort.train_and_score(1) if until == 1 else cohort.train(until)


def estimate_seconds(experiment: Experiment, candidates: int) -> float:
    """Estimate the seconds that a search of this many candidates takes on this machine."""
    seconds = 0.0
    for name in experiment.tasks:
        fidelity = experiment.training_on(name)
        step = measure_step(experiment.task_named(name), fidelity, experiment.executor.device)
        seconds += candidates * fidelity.seeds * sum(_list_steps(fidelity)) * step
    return seconds / count_workers(experiment)


@dataclass(frozen=True)
class Trainings:
    """A number of trainings that a study makes on a task."""

    task: str
    fidelity: TrainingSettings
    number: int


def seconds_of_step(evaluations: Iterable[Evaluation], task: str) -> float | None:
    """Return the median seconds of one step of the trainings that a search recorded on a task; None without any."""
    recorded = [record for record in evaluations if record.task == task and record.status == "evaluated"]
    steps = [record.seconds / record.steps for record in recorded if record.seconds and record.steps]
    return median(steps) if steps else None


def later_time(
    experiment: Experiment,
    evaluations: Sequence[Evaluation],
    planned: Sequence[Trainings],
    executor: str | None = None,
    searches: int = 0,
) -> str:
    """Return a sentence about the time that trainings after a search take, and ``searches`` as long as the first.

    Trainings of another network than the search's, or on another task, are measured.
    """
    workers = 1 if executor == "inline" else count_workers(experiment)
    seconds = searches * sum(record.seconds or 0.0 for record in evaluations)
    try:
        for trainings in planned:
            known = trainings.task in experiment.tasks
            same = known and trainings.fidelity.network == experiment.training_on(trainings.task).network
            step = seconds_of_step(evaluations, trainings.task) if same else None
            if step is None:
                step = measure_step(
                    experiment.task_named(trainings.task), trainings.fidelity, experiment.executor.device
                )
            seconds += trainings.number * trainings.fidelity.steps * step
    except (UserError, RuntimeError, MemoryError) as error:
        return f"time: not estimated, {str(error).splitlines()[0]}"
    called = "worker" if workers == 1 else "workers"
    start = "" if "inline" in (executor, experiment.executor.kind) else ", and the start of Ray"
    return (
        f"time: about {in_words(seconds / workers)} of training with {workers} {called}, if a step takes as long as in "
        f"the search{start}; less if some of it is done already"
    )


def count_workers(experiment: Experiment) -> int:
    """Return the number of trainings at a time: the declared workers, or the GPUs or cores of this machine."""
    settings = experiment.executor
    if settings.kind == "inline":
        return 1
    on_gpu = choose_device(settings.device).type == "cuda"
    return settings.workers or (torch.cuda.device_count() if on_gpu else len(os.sched_getaffinity(0)))


def _list_steps(fidelity: TrainingSettings) -> Iterator[float]:
    """Yield the steps of a candidate up to each stage, weighted by the share of candidates that reach it."""
    share, before = 1.0, 0
    for stage in fidelity.stages:
        yield share * (stage - before)
        share, before = share / fidelity.reduction_factor, stage


def _draw_split(task: Task, samples: int) -> Split:
    """Draw inputs and classes of the task's shape; each class occurs."""
    generator = torch.Generator().manual_seed(0)
    samples = max(samples, task.classes)
    inputs = torch.randn(samples, *task.shape, generator=generator)
    targets = torch.arange(samples) % task.classes
    if task.dense:
        targets = torch.randint(0, task.classes, (samples, *task.shape[1:]), generator=generator)
    return Split(inputs, targets)


def measured_time(experiment: Experiment, candidates: int) -> str:
    """Return a sentence about the time that a search takes, or why it could not be estimated."""
    try:
        seconds = estimate_seconds(experiment, candidates)
    except (UserError, RuntimeError, MemoryError) as error:
        return f"time: not estimated, {str(error).splitlines()[0]}"
    workers = count_workers(experiment)
    return (
        f"time: about {in_words(seconds)} on this machine with {workers} {'worker' if workers == 1 else 'workers'}, "
        "if a step takes as long as one of cross-entropy does now"
    )
