"""One row of a leaderboard, from its place in the ranking and the evaluations of its loss."""

from collections.abc import Iterator, Mapping, Sequence

from lossearch.results.ranking.order import Ranking
from lossearch.results.ranking.row import Row
from lossearch.results.records import Evaluation
from lossearch.results.statistics.intervals import interval, mean, paired_differences, spread


def build_row(ranking: Ranking, place: int, group: Mapping[int, Evaluation], baseline: Mapping[int, float]) -> Row:
    """Build the row at a place of the leaderboard.

    ``group`` has all evaluations of the loss by their index, in the order written. ``baseline`` is cross-entropy's
    fitness by seed.
    """
    loss, tasks, evaluations = int(ranking.order[place]), ranking.tasks, list(group.values())
    is_ranked, status = place < ranking.num_ranked, ranking.status(loss)
    first, longest, deciding = (
        group[int(evaluation[loss])] for evaluation in (ranking.first, ranking.longest, ranking.deciding)
    )
    fitness = ranking.seed_fitness.by_seed(loss)
    differences = paired_differences(fitness, baseline) if is_ranked else []
    low, high = interval(differences) or (None, None)
    seconds = [evaluation.seconds for evaluation in evaluations if evaluation.seconds is not None]
    return Row(
        rank=place + 1 if is_ranked else None,
        loss_id=first.loss_id,
        name=first.name,
        class_weights=first.class_weights,
        formula=first.formula,
        complexity=first.complexity,
        task=" + ".join(tasks) or first.task,
        fitness_by_task=tuple(_describe_tasks(ranking, loss)) if is_ranked and len(tasks) > 1 else (),
        fidelity=" + ".join(dict.fromkeys(_fidelities(evaluations, tasks))) or longest.fidelity,
        steps=longest.steps,
        status=status,
        seeds=len(fitness),
        metric=_name_metric(evaluations),
        fitness_mean=mean(fitness.values()) if is_ranked else None,
        fitness_std=spread(fitness.values()) if is_ranked else None,
        difference_to_cross_entropy=mean(differences) if differences else None,
        difference_low=low,
        difference_high=high,
        pareto=is_ranked and bool(ranking.pareto[place]),
        calibration=first.calibration if len(tasks) == 1 else None,
        generation=first.generation,
        birth=first.birth,
        parents=first.parents,
        duplicates=sum(evaluation.status == "duplicate" for evaluation in evaluations),
        reason=None if is_ranked else _explain_stop(evaluations, longest) if status == "stopped" else deciding.reason,
        seconds=sum(seconds) if seconds else None,
        finished_at=max((evaluation.finished_at for evaluation in evaluations if evaluation.finished_at), default=None),
    )


def _describe_tasks(ranking: Ranking, loss: int) -> Iterator[str]:
    for task in ranking.tasks:
        yield f"{task} {ranking.seed_fitness.on_task(loss, task):.4f}"


def _fidelities(evaluations: Sequence[Evaluation], tasks: Sequence[str]) -> Iterator[str]:
    """Yield the fidelity of the longest training on each task that the loss has evaluations on."""
    for task in tasks:
        on_task = [evaluation for evaluation in evaluations if evaluation.task == task]
        if on_task:
            yield max(on_task, key=lambda evaluation: evaluation.steps or 0).fidelity


def _name_metric(evaluations: Sequence[Evaluation]) -> str:
    metrics = {evaluation.metric or "accuracy" for evaluation in evaluations}
    return metrics.pop() if len(metrics) == 1 else "mean of metrics"


def _explain_stop(evaluations: Sequence[Evaluation], longest: Evaluation) -> str:
    """Describe how far a candidate was trained, and its fitness there."""
    at_stop = [
        evaluation.fitness
        for evaluation in evaluations
        if evaluation.steps == longest.steps and evaluation.fitness is not None
    ]
    fitness = f", with a fitness of {mean(at_stop):.4f} there" if at_stop else ""
    return f"trained to a rung: {longest.steps} of {longest.full_steps} steps{fitness}"
