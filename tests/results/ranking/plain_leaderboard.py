"""A leaderboard without arrays, row after row: an independent implementation that tests compare ours with."""

from collections import Counter
from dataclasses import replace

from lossearch.results.ranking.counts import CandidateCounts
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE
from lossearch.results.statistics.intervals import interval, mean, noise_of_a_difference, paired_differences, spread


def plain_rows(evaluations):
    by_loss = groups(evaluations)
    tasks = tasks_of(evaluation for group in by_loss.values() for evaluation in group)
    baseline = fitness_by_seed(baseline_of(by_loss), tasks)
    rows = [plain_row(group, baseline, tasks) for group in by_loss.values()]
    ranked = sorted(
        (row for row in rows if row.fitness_mean is not None),
        key=lambda row: (-row.fitness_mean, row.complexity, row.loss_id),
    )
    pareto = [all(row.complexity < before.complexity for before in ranked[:k]) for k, row in enumerate(ranked)]
    numbered = [replace(row, rank=k + 1, pareto=pareto[k]) for k, row in enumerate(ranked)]
    return numbered + [row for row in rows if row.fitness_mean is None]


def plain_noise(evaluations):
    by_loss = groups(evaluations)
    tasks = tasks_of(evaluation for group in by_loss.values() for evaluation in group)
    baseline = baseline_of(by_loss)
    theirs = fitness_by_seed(baseline, tasks)
    others = [fitness_by_seed(group, tasks) for group in by_loss.values() if group is not baseline]
    others = sorted((fitness for fitness in others if fitness), key=lambda fitness: -mean(fitness.values()))
    return noise_of_a_difference(paired_differences(fitness, theirs) for fitness in others[: (len(others) + 1) // 2])


def tasks_of(evaluations):
    return list(dict.fromkeys(evaluation.task for evaluation in evaluations if evaluation.seed is not None))


def fitness_by_seed(group, tasks):
    """Return fitness of the full trainings under each seed, the mean over the tasks; a seed needs all of them."""
    by_seed = {}
    for evaluation in group:
        if not evaluation.at_a_rung and evaluation.seed is not None and evaluation.fitness is not None:
            by_seed.setdefault(evaluation.seed, {})[evaluation.task] = evaluation.fitness
    return {seed: mean(by_task.values()) for seed, by_task in by_seed.items() if len(by_task) == len(tasks)}


def groups(evaluations):
    by_loss = {}
    for evaluation in evaluations:
        by_loss.setdefault(evaluation.loss_id, []).append(evaluation)
    return by_loss


def baseline_of(by_loss):
    return next((group for group in by_loss.values() if any(evaluation.name == BASELINE for evaluation in group)), [])


def plain_row(group, baseline, tasks):
    first = next((evaluation for evaluation in group if evaluation.status != "duplicate"), group[0])
    refused = [evaluation for evaluation in group if evaluation.status in ("failed", "rejected")]
    longest = max(group, key=lambda evaluation: evaluation.steps or 0)
    fitness = fitness_by_seed(group, tasks)
    if fitness and not refused:
        status, reason = "evaluated", None
    elif not fitness and not refused and longest.at_a_rung:
        there = [
            evaluation.fitness
            for evaluation in group
            if evaluation.steps == longest.steps and evaluation.fitness is not None
        ]
        status = "stopped"
        reason = f"trained to a rung: {longest.steps} of {longest.full_steps} steps"
        reason += f", with a fitness of {mean(there):.4f} there" if there else ""
    else:
        status, reason = (refused or [first])[0].status, (refused or [first])[0].reason
    complete = bool(fitness) and not refused
    differences = paired_differences(fitness, baseline) if complete else []
    limits = (interval(differences) if len(differences) > 2 and len(set(differences)) > 1 else None) or (None, None)
    seconds = [evaluation.seconds for evaluation in group if evaluation.seconds is not None]
    metrics = {evaluation.metric or "accuracy" for evaluation in group}
    return Row(
        rank=None,
        loss_id=first.loss_id,
        name=first.name,
        class_weights=first.class_weights,
        formula=first.formula,
        complexity=first.complexity,
        task=" + ".join(tasks) or first.task,
        fitness_by_task=tuple(on_each(group, tasks)) if complete and len(tasks) > 1 else (),
        fidelity=" + ".join(dict.fromkeys(fidelities(group, tasks))) or longest.fidelity,
        steps=longest.steps,
        status=status,
        seeds=len(fitness),
        metric=metrics.pop() if len(metrics) == 1 else "mean of metrics",
        fitness_mean=mean(fitness.values()) if complete else None,
        fitness_std=spread(fitness.values()) if complete else None,
        difference_to_cross_entropy=mean(differences) if differences else None,
        difference_low=limits[0],
        difference_high=limits[1],
        pareto=False,
        calibration=first.calibration if len(tasks) == 1 else None,
        generation=first.generation,
        birth=first.birth,
        parents=first.parents,
        duplicates=sum(evaluation.status == "duplicate" for evaluation in group),
        reason=reason,
        seconds=sum(seconds) if seconds else None,
        finished_at=max((evaluation.finished_at for evaluation in group if evaluation.finished_at), default=None),
    )


def on_each(group, tasks):
    for task in tasks:
        fitness = fitness_by_seed([evaluation for evaluation in group if evaluation.task == task], [task])
        yield f"{task} {mean(fitness.values()):.4f}"


def fidelities(group, tasks):
    for task in tasks:
        on_task = [evaluation for evaluation in group if evaluation.task == task]
        if on_task:
            yield max(on_task, key=lambda evaluation: evaluation.steps or 0).fidelity


def plain_counts(evaluations):
    rows = Counter(row.status for row in plain_rows(evaluations))
    refusals = Counter(evaluation.status for evaluation in evaluations)
    evaluated = sum(row.rank is not None for row in plain_rows(evaluations))
    return CandidateCounts(evaluated, rows["stopped"], rows["failed"], refusals["rejected"], refusals["duplicate"])
