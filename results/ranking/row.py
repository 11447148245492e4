"""The rows of a leaderboard: one a loss, derived from the evaluations and always rebuildable from them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lossearch.results.records import Evaluation
from lossearch.results.statistics.intervals import interval, mean, paired_differences, spread

if TYPE_CHECKING:
    pass


#: Seeds from which a difference has an interval: accuracies are whole numbers of samples, and two are often equal.
FEWEST_FOR_INTERVAL = 3

#: Stopped is a candidate that was trained to a rung, and so far no longer.
RowStatus = Literal["evaluated", "stopped", "failed", "rejected", "duplicate"]


@dataclass(frozen=True)
class Row:
    """One loss. Losses that were not evaluated to the end on every task have no rank and no fitness.

    The fitness is that of full trainings alone, so that all of the column can be compared. Where the run has several
    tasks, it is the mean over them.
    """

    rank: int | None  #: 1 is best: by mean fitness, then by complexity
    loss_id: str  #: identifies the formula, with its class weights
    name: str | None  #: of a known loss
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    formula: str  #: canonical text, hyper-parameters as numbers
    complexity: int  #: nodes of the formula
    task: str  #: its name, or those of several
    fitness_by_task: tuple[str, ...]  #: where there are several: the name of each and the mean fitness there
    fidelity: str  #: how much training: network, steps, batch size, learning rate
    steps: int | None  #: optimiser steps of the longest training; null where none was, and in old files
    status: RowStatus  #: evaluated, stopped (at a rung), failed, rejected or duplicate
    seeds: int  #: finished trainings
    metric: str  #: what fitness is: accuracy, verification accuracy or mean IoU
    fitness_mean: float | None  #: of the metric on the validation split, in [0, 1]
    fitness_std: float | None  #: standard deviation over the seeds
    difference_to_cross_entropy: float | None  #: mean of the differences under the same seeds
    difference_low: float | None  #: 95 % interval of that mean, Student's; null under fewer than three seeds
    difference_high: float | None  #: its other end
    pareto: bool  #: no other loss is both at least as good and at most as complex
    calibration: float | None  #: factor that gives the loss cross-entropy's first gradient size, on one task
    generation: int  #: in which it was born, from 0
    birth: str  #: known, baseline, random, or a kind of variation, such as crossover
    parents: tuple[str, ...]  #: loss ids
    duplicates: int  #: how often a candidate that trains alike was born again
    reason: str | None  #: why it has no rank
    seconds: float | None  #: of training, over all seeds
    finished_at: str | None  #: of the last training, UTC


def tasks_of(evaluations: Iterable[Evaluation]) -> list[str]:
    """The tasks that losses were trained on."""
    return list(dict.fromkeys(each.task for each in evaluations if each.seed is not None))


def row_of(
    group: Sequence[Evaluation], baseline: Mapping[int, float], tasks: Sequence[str], rank: int | None, pareto: bool
) -> Row:
    """The row of one loss, from all its evaluations and its place in the ranking.

    ``baseline`` is cross-entropy's fitness by seed, and ``tasks`` those of the run.
    """
    first = next((each for each in group if each.status != "duplicate"), group[0])
    failed = next((each for each in group if each.status in ("failed", "rejected")), None)
    longest = max(group, key=lambda each: each.steps or 0)
    fitness = fitness_by_seed(group, tasks)
    complete = bool(fitness) and failed is None
    assert complete == (rank is not None)
    stopped = not fitness and failed is None and longest.at_a_rung
    differences = paired_differences(fitness, baseline) if complete else []
    low, high = _limits(differences)
    seconds = [each.seconds for each in group if each.seconds is not None]
    return Row(
        rank=rank,
        loss_id=first.loss_id,
        name=first.name,
        class_weights=first.class_weights,
        formula=first.formula,
        complexity=first.complexity,
        task=" + ".join(tasks) or first.task,
        fitness_by_task=tuple(_on_each(group, tasks)) if complete and len(tasks) > 1 else (),
        fidelity=" + ".join(dict.fromkeys(_longest(group, task).fidelity for task in _trained_on(group, tasks)))
        or longest.fidelity,
        steps=longest.steps,
        status="evaluated" if complete else "stopped" if stopped else (failed or first).status,
        seeds=len(fitness),
        metric=_metric(group),
        fitness_mean=mean(fitness.values()) if complete else None,
        fitness_std=spread(fitness.values()) if complete else None,
        difference_to_cross_entropy=mean(differences) if differences else None,
        difference_low=low,
        difference_high=high,
        pareto=pareto,
        calibration=first.calibration if len(tasks) == 1 else None,
        generation=first.generation,
        birth=first.birth,
        parents=first.parents,
        duplicates=sum(each.status == "duplicate" for each in group),
        reason=None if complete else _stopped(group, longest) if stopped else (failed or first).reason,
        seconds=sum(seconds) if seconds else None,
        finished_at=max((each.finished_at for each in group if each.finished_at), default=None),
    )


def _limits(differences: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """The interval of their mean; none of so few, or of equal ones, that their spread says nothing."""
    if len(differences) < FEWEST_FOR_INTERVAL or max(differences) - min(differences) < 1e-12:
        return None, None
    return interval(differences) or (None, None)


def fitness_by_seed(group: Iterable[Evaluation], tasks: Collection[str]) -> dict[int, float]:
    """Fitness of the full trainings under each seed, the mean over the tasks; none where one of them is missing."""
    found: dict[int, dict[str, float]] = {}
    for each in group:
        if not each.at_a_rung and each.seed is not None and each.fitness is not None:
            found.setdefault(each.seed, {})[each.task] = each.fitness
    return {seed: mean(on_each.values()) for seed, on_each in found.items() if len(on_each) == len(tasks)}


def _on_each(group: Sequence[Evaluation], tasks: Sequence[str]) -> Iterator[str]:
    for task in tasks:
        own = fitness_by_seed([each for each in group if each.task == task], [task])
        yield f"{task} {mean(own.values()):.4f}"


def _trained_on(group: Sequence[Evaluation], tasks: Sequence[str]) -> list[str]:
    """The tasks that a loss has evaluations on."""
    return [task for task in tasks if any(each.task == task for each in group)]


def _longest(group: Sequence[Evaluation], task: str) -> Evaluation:
    return max((each for each in group if each.task == task), key=lambda each: each.steps or 0)


def _metric(group: Sequence[Evaluation]) -> str:
    """The metric of the fitness, or that it is a mean of several."""
    metrics = {each.metric or "accuracy" for each in group}
    return metrics.pop() if len(metrics) == 1 else "mean of metrics"


def _stopped(group: Sequence[Evaluation], longest: Evaluation) -> str:
    """How far a candidate was trained, and how it stood there."""
    there = [each.fitness for each in group if each.steps == longest.steps and each.fitness is not None]
    stood = f", with a fitness of {mean(there):.4f} there" if there else ""
    return f"trained to a rung: {longest.steps} of {longest.full_steps} steps{stood}"
