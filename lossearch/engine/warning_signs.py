"""Warning signs of a search: wild inputs, a baseline that learns nothing, scores that are all the same.

Each is one line that says what to do. They follow from the data and the records alone, so they are the same whatever
executor trained.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from lossearch.evaluators.tasks.chance import compute_chance
from lossearch.evaluators.tasks.scales import describe_scales
from lossearch.results.ranking.rows import leaderboard_rows
from lossearch.results.records import BASELINE, Evaluation
from lossearch.results.statistics.intervals import mean
from lossearch.runs.experiment import Experiment

#: Share of the first generation's losses that may have the same fitness, and the fewest losses to judge by.
MOST_EQUAL, FEWEST_LOSSES = 0.9, 4

#: Fitness from which equal scores mean that the task is too easy.
_SOLVED = 0.99


def warn_of_inputs(experiment: Experiment) -> Iterator[str]:
    """Yield a warning for each task on a file of the user's own arrays whose inputs have wild scales."""
    for name, data in experiment.data.items():
        if name not in experiment.tasks or not hasattr(data, "arrays"):
            continue
        scales = describe_scales(experiment.task_named(name).load().train)
        if scales is not None:
            yield (
                f"The inputs of {name} have wild scales: {scales}. Standardise them: subtract the mean of each column "
                "over the training samples and divide by its standard deviation."
            )


def warn_of_baseline(experiment: Experiment, evaluations: Iterable[Evaluation]) -> Iterator[str]:
    """Yield a warning for each task where cross-entropy learns nothing. Evaluations of other losses are left out."""
    baseline = [evaluation for evaluation in evaluations if evaluation.name == BASELINE and evaluation.generation == 0]
    for name in experiment.tasks:
        yield from _warn_on_task(experiment, name, [evaluation for evaluation in baseline if evaluation.task == name])


def _warn_on_task(experiment: Experiment, name: str, baseline: list[Evaluation]) -> Iterator[str]:
    training = experiment.training_on(name)
    check = (
        f"Check the labels, the scale of the inputs, the learning rate (now {training.learning_rate:g}) and the number "
        f"of steps (now {training.steps})."
    )
    failure = next((evaluation.reason for evaluation in baseline if evaluation.status == "failed"), None)
    if failure is not None:
        yield f"Cross-entropy does not train on {name}: {failure}. {check}"
        return
    values = [
        evaluation.fitness for evaluation in baseline if evaluation.fitness is not None and not evaluation.at_a_rung
    ]
    if not values:
        return
    chance, fitness = compute_chance(experiment.task_named(name)), mean(values)
    if chance.explains(fitness):
        metric = experiment.task_named(name).metric.name
        yield (
            f"Nothing trains on {name}: cross-entropy reaches {metric} {fitness:.4f} on {chance.samples} validation "
            f"samples, and {chance.answer} gives {chance.fitness:.4f}. {check}"
        )


def warn_of_equal_scores(evaluations: Iterable[Evaluation]) -> Iterator[str]:
    """Yield a warning if the losses of the first generation have the same fitness. Later losses are left out."""
    first = [evaluation for evaluation in evaluations if evaluation.generation == 0]
    ranked = [row for row in leaderboard_rows(first) if row.fitness_mean is not None]
    if len(ranked) < FEWEST_LOSSES:
        return
    counts = Counter(round(row.fitness_mean or 0.0, 9) for row in ranked)
    fitness, count = counts.most_common(1)[0]
    if count < MOST_EQUAL * len(ranked):
        return
    advice = (
        "The task is too easy to tell losses apart: take fewer steps, fewer labels or harder data."
        if fitness >= _SOLVED
        else "Check the labels, the scale of the inputs, the learning rate and the number of validation samples."
    )
    yield (
        f"{count} of {len(ranked)} losses of the first generation have the same {ranked[0].metric}, {fitness:.4f}: the "
        f"search cannot tell them apart. {advice}"
    )
