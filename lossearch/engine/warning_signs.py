"""Warning signs: wild inputs, a baseline that learns nothing, scores that are all the same.

Each is one line that says what to do. They follow from the data and the records alone, so they are the same whatever
executor trained.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from lossearch.evaluators.tasks.chance import compute_chance
from lossearch.evaluators.tasks.scales import describe_scales
from lossearch.results.plain_text import printable
from lossearch.results.ranking.rows import leaderboard_rows
from lossearch.results.records import BASELINE, Evaluation
from lossearch.results.statistics.intervals import mean
from lossearch.runs.declaration import Declaration
from lossearch.runs.experiment import Experiment

#: Share of the first generation's losses that may have the same fitness, and the fewest losses to judge by.
MOST_EQUAL, FEWEST_LOSSES = 0.9, 4

#: Fitness from which equal scores mean that the task is too easy.
_SOLVED = 0.99


def warn_of_inputs(declared: Declaration, tasks: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each of the tasks on a file of the user's own arrays whose inputs have wild scales."""
    for name in tasks:
        if not hasattr(declared.data.get(name), "arrays"):
            continue
        scales = describe_scales(declared.task_named(name).load().train)
        if scales is not None:
            yield (
                f"The inputs of {name} have wild scales: {scales}. Standardise them: subtract the mean of each column "
                "over the training samples and divide by its standard deviation."
            )


def warn_of_baseline(experiment: Experiment, evaluations: Iterable[Evaluation]) -> Iterator[str]:
    """Yield a warning for each task where cross-entropy learns nothing. Evaluations of other losses are left out."""
    baseline = [evaluation for evaluation in evaluations if evaluation.name == BASELINE and evaluation.generation == 0]
    for name in experiment.tasks:
        records = [evaluation for evaluation in baseline if evaluation.task == name]
        failure = next((evaluation.reason for evaluation in records if evaluation.status == "failed"), None)
        values = [
            evaluation.fitness for evaluation in records if evaluation.fitness is not None and not evaluation.at_a_rung
        ]
        yield from warn_of_untrained(experiment, name, BASELINE, failure, values, "validation")


def warn_of_untrained(
    declared: Declaration, name: str, loss: str, failure: str | None, values: Sequence[float], part: str
) -> Iterator[str]:
    """Yield a warning if a loss failed on a task, or if the mean of its ``values`` on a split is not above chance."""
    training, task = declared.training_on(name), declared.task_named(name)
    label = "cross-entropy" if loss == BASELINE else printable(loss)
    check = (
        f"Check the labels, the scale of the inputs, the learning rate (now {training.learning_rate:g}) and the number "
        f"of steps (now {training.steps})."
    )
    if failure is not None:
        start = label.capitalize() if loss == BASELINE else label
        yield f"{start} does not train on {name}: {printable(failure)}. {check}"
        return
    if not values:
        return
    chance, fitness = compute_chance(task, task.load_test() if part == "test" else None), mean(values)
    if chance.explains(fitness):
        yield (
            f"Nothing trains on {name}: {label} reaches {task.metric.name} {fitness:.4f} on {chance.samples} {part} "
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
