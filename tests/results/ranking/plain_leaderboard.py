"""A leaderboard without arrays, row after row: an independent implementation that tests compare ours with."""

from dataclasses import replace

from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE
from lossearch.results.statistics.intervals import interval, mean, noise_of_a_difference, paired_differences, spread


def plain_rows(evaluations):
    by_loss = groups(evaluations)
    tasks = tasks_of(each for group in by_loss.values() for each in group)
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
    tasks = tasks_of(each for group in by_loss.values() for each in group)
    baseline = baseline_of(by_loss)
    theirs = fitness_by_seed(baseline, tasks)
    others = [fitness_by_seed(group, tasks) for group in by_loss.values() if group is not baseline]
    others = sorted((each for each in others if each), key=lambda fitness: -mean(fitness.values()))
    return noise_of_a_difference(paired_differences(each, theirs) for each in others[: (len(others) + 1) // 2])


def tasks_of(evaluations):
    return list(dict.fromkeys(each.task for each in evaluations if each.seed is not None))


def fitness_by_seed(group, tasks):
    """Fitness of the full trainings under each seed, the mean over the tasks; a seed needs all of them."""
    found = {}
    for each in group:
        if not each.at_a_rung and each.seed is not None and each.fitness is not None:
            found.setdefault(each.seed, {})[each.task] = each.fitness
    return {seed: mean(by_task.values()) for seed, by_task in found.items() if len(by_task) == len(tasks)}


def groups(evaluations):
    found = {}
    for each in evaluations:
        found.setdefault(each.loss_id, []).append(each)
    return found


def baseline_of(by_loss):
    return next((group for group in by_loss.values() if any(each.name == BASELINE for each in group)), [])


def plain_row(group, baseline, tasks):
    first = next((each for each in group if each.status != "duplicate"), group[0])
    refused = [each for each in group if each.status in ("failed", "rejected")]
    longest = max(group, key=lambda each: each.steps or 0)
    fitness = fitness_by_seed(group, tasks)
    if fitness and not refused:
        status, reason = "evaluated", None
    elif not fitness and not refused and longest.at_a_rung:
        there = [each.fitness for each in group if each.steps == longest.steps and each.fitness is not None]
        status = "stopped"
        reason = f"trained to a rung: {longest.steps} of {longest.full_steps} steps"
        reason += f", with a fitness of {mean(there):.4f} there" if there else ""
    else:
        status, reason = (refused or [first])[0].status, (refused or [first])[0].reason
    complete = bool(fitness) and not refused
    differences = paired_differences(fitness, baseline) if complete else []
    limits = (interval(differences) if len(differences) > 2 and len(set(differences)) > 1 else None) or (None, None)
    seconds = [each.seconds for each in group if each.seconds is not None]
    metrics = {each.metric or "accuracy" for each in group}
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
        duplicates=sum(each.status == "duplicate" for each in group),
        reason=reason,
        seconds=sum(seconds) if seconds else None,
        finished_at=max((each.finished_at for each in group if each.finished_at), default=None),
    )


def on_each(group, tasks):
    for task in tasks:
        fitness = fitness_by_seed([each for each in group if each.task == task], [task])
        yield f"{task} {mean(fitness.values()):.4f}"


def fidelities(group, tasks):
    for task in tasks:
        on_task = [each for each in group if each.task == task]
        if on_task:
            yield max(on_task, key=lambda each: each.steps or 0).fidelity
