"""Proxies: how well short trainings rank losses as full trainings do.

A value is the score of a candidate after one training. Lines follow from the values and can always be built again. A
candidate that fails under one of its seeds ranks last.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lossearch.results.findings.table_text import code
from lossearch.results.statistics.intervals import mean
from lossearch.results.statistics.rank_correlation import tau_b, tau_b_interval
from lossearch.results.storage.tables import read_records, write_records

VALUES_FILE, TABLE_FILE = "values.parquet", "table.parquet"

#: Name of the training that shorter ones replace.
FULL = "full training"

#: Number by which each proxy divides the steps of the full training. Proxies have other seeds than the full training.
PROXIES = {"1/8": 8, "1/4": 4, "1/2": 2, "all steps": 1}

#: Name of the full training under other seeds. Its tau is what a proxy of that cost can be expected to reach; one with
#: more seeds may do better.
CEILING = "full training again"

#: Kendall's tau with the full training from which a proxy is good enough to search with.
GOOD_ENOUGH = 0.6

#: Numbers of seeds of a proxy.
SEEDS = (1, 2)

#: Columns of the table in a terminal and on a page.
COLUMNS = ("proxy", "steps", "seeds", "cost", "tau", "95 % interval", "tau, better half", "candidates", "")

#: Score of a candidate that fails: below every value of a metric.
_FAILED = -1.0

_BOOTSTRAP_SEED = 0

#: Fitness under each seed, in the order of the seeds, by the candidate's loss id.
Fitness = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class ProxyValue:
    """The score of one candidate on a task after one training, on the validation split."""

    task: str
    loss_id: str
    formula: str
    name: str | None  #: name of a known loss
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    proxy: str  #: full training, or the part of its steps
    steps: int
    full_steps: int  #: steps of the full training
    seed: int  #: index of the training seed
    metric: str
    fitness: float | None  #: metric in [0, 1], larger is better; null where the training failed
    reason: str | None  #: why the training failed


@dataclass(frozen=True)
class ProxyLine:
    """One proxy on one task, beside the full training."""

    task: str
    metric: str
    proxy: str  #: part of the full training's steps
    steps: int
    seeds: int
    cost: float  #: steps under all seeds, as a share of the full training's steps under all of its seeds
    tau: float | None  #: Kendall's tau-b with the full training; null where one of the rankings is all ties
    low: float | None  #: lower end of the 95 % interval of tau
    high: float | None  #: its upper end
    tau_of_better_half: float | None  #: tau among the candidates that are the better half by the full training
    candidates: int  #: number of candidates
    failed: int  #: number of candidates that failed in the full training or in the proxy
    full_steps: int
    full_seeds: int
    ceiling: bool  #: True for the full training under other seeds
    cheapest: bool = False  #: True for the cheapest proxy of the task that is good enough


def write_values(folder: Path, values: Sequence[ProxyValue]) -> None:
    """Write the values into a folder."""
    write_records(folder / VALUES_FILE, ProxyValue, values)


def read_values(folder: Path) -> list[ProxyValue]:
    """Read the values in a folder. Raises DamagedFile, NewerFile, OSError."""
    values: list[ProxyValue] = read_records(folder / VALUES_FILE, ProxyValue)
    return values


def write_lines(folder: Path, lines: Sequence[ProxyLine]) -> None:
    """Write the lines into a folder."""
    write_records(folder / TABLE_FILE, ProxyLine, lines)


def read_lines(folder: Path) -> list[ProxyLine]:
    """Read the lines in a folder. Raises DamagedFile, NewerFile, OSError."""
    lines: list[ProxyLine] = read_records(folder / TABLE_FILE, ProxyLine)
    return lines


def proxy_lines(values: Sequence[ProxyValue]) -> list[ProxyLine]:
    """Compute the lines of every task, cheapest proxy first and the noise ceiling last."""
    lines: list[ProxyLine] = []
    for task in dict.fromkeys(value.task for value in values):
        task_lines = _task_lines([value for value in values if value.task == task])
        lines += _mark_cheapest(sorted(task_lines, key=lambda line: (line.ceiling, line.cost, line.steps)))
    return lines


def find_cheapest(lines: Sequence[ProxyLine], task: str) -> ProxyLine | None:
    """Return the cheapest proxy of a task that is good enough; None where there is none."""
    return next((line for line in lines if line.task == task and line.cheapest), None)


def _task_lines(values: Sequence[ProxyValue]) -> Iterator[ProxyLine]:
    """Compute the lines of one task."""
    full = _fitness_by_loss(values, FULL)
    full_seeds = max(map(len, full.values()))
    for proxy in PROXIES:
        proxy_values = [value for value in values if value.proxy == proxy]
        fitness = _fitness_by_loss(proxy_values, proxy)
        for num_seeds in SEEDS:
            yield _line(proxy, proxy_values[0], _first_seeds(fitness, num_seeds), full, full_seeds)
    again = [value for value in values if PROXIES.get(value.proxy) == 1]
    fitness = _fitness_by_loss(again, again[0].proxy)
    yield _line(CEILING, again[0], _first_seeds(fitness, full_seeds), full, full_seeds)


def _line(proxy: str, head: ProxyValue, scores: Fitness, full: Fitness, full_seeds: int) -> ProxyLine:
    """Compute one line. ``head`` is a value of the proxy."""
    pairs = [(_score(full[loss]), _score(scores[loss])) for loss in full]
    better_half = sorted(pairs, key=lambda pair: -pair[0])[: (len(pairs) + 1) // 2]
    seeds = max(map(len, scores.values()))
    low, high = tau_b_interval(*_columns(pairs), np.random.default_rng(_BOOTSTRAP_SEED)) or (None, None)
    tau = tau_b(*_columns(pairs))
    return ProxyLine(
        task=head.task,
        metric=head.metric,
        proxy=proxy,
        steps=head.steps,
        seeds=seeds,
        cost=head.steps * seeds / (head.full_steps * full_seeds),
        tau=tau,
        low=None if tau is None else low,
        high=None if tau is None else high,
        tau_of_better_half=tau_b(*_columns(better_half)),
        candidates=len(pairs),
        failed=sum(_FAILED in pair for pair in pairs),
        full_steps=head.full_steps,
        full_seeds=full_seeds,
        ceiling=proxy == CEILING,
    )


def _mark_cheapest(lines: Sequence[ProxyLine]) -> list[ProxyLine]:
    """Mark the cheapest proxy of one task that is good enough. Of two at the same cost, mark the better one.

    A proxy that costs as much as the full training is never marked: train fully instead.
    """
    cheaper = [line for line in lines if not line.ceiling and line.cost < 1.0]
    good = [line for line in cheaper if line.tau is not None and line.tau >= GOOD_ENOUGH]
    best = min(good, key=lambda line: (line.cost, -(line.tau or 0.0)), default=None)
    return [replace(line, cheapest=line is best) for line in lines]


def _fitness_by_loss(values: Sequence[ProxyValue], proxy: str) -> Fitness:
    by_loss: dict[str, list[float | None]] = {}
    for value in sorted((value for value in values if value.proxy == proxy), key=lambda value: value.seed):
        by_loss.setdefault(value.loss_id, []).append(value.fitness)
    return {loss: by_loss[loss] for loss in dict.fromkeys(value.loss_id for value in values) if loss in by_loss}


def _first_seeds(fitness: Fitness, num_seeds: int) -> Fitness:
    return {loss: by_seed[:num_seeds] for loss, by_seed in fitness.items()}


def _score(fitness: Sequence[float | None]) -> float:
    """Return the mean over the seeds, or the score of a failure if one of them failed."""
    values = [value for value in fitness if value is not None]
    return mean(values) if len(values) == len(fitness) else _FAILED


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [full for full, _ in pairs], [proxy for _, proxy in pairs]


def heading(lines: Sequence[ProxyLine], quote: Callable[[str], str] = str) -> str:
    """Return the heading of one task's table. ``quote`` is applied to the task's name."""
    head = lines[0]
    seeds = _counted(head.full_seeds, "seed")
    return f"{quote(head.task)}: {head.metric} on the validation split, full training {head.full_steps} steps x {seeds}"


def cells(line: ProxyLine) -> tuple[str, ...]:
    """Return the cells of one line, in the order of ``COLUMNS``."""
    interval = "" if line.low is None or line.high is None else f"{line.low:.2f} to {line.high:.2f}"
    return (
        line.proxy,
        str(line.steps),
        str(line.seeds),
        f"{100.0 * line.cost:.3g} %",
        _tau_text(line.tau),
        interval,
        _tau_text(line.tau_of_better_half),
        str(line.candidates),
        "cheapest" if line.cheapest else "noise ceiling" if line.ceiling else "",
    )


def summarize(lines: Sequence[ProxyLine], quote: Callable[[str], str] = str) -> str:
    """Say in a few sentences which proxy of a task is chosen, and how many candidates failed.

    ``quote`` is applied to the task's name.
    """
    task, num_failed = quote(lines[0].task), max(line.failed for line in lines)
    cheapest, sentences = find_cheapest(lines, lines[0].task), []
    if all(line.tau is None for line in lines):
        sentences.append(f"{task}: tau is undefined, since all candidates are worth the same in one of the rankings.")
    elif cheapest is None:
        sentences.append(f"{task}: no proxy reaches a tau of {GOOD_ENOUGH:g}, so that the full training is to be used.")
    else:
        sentences.append(
            f"{task}: the cheapest proxy with a tau of {GOOD_ENOUGH:g} or more has {cheapest.steps} steps and "
            f"{_counted(cheapest.seeds, 'seed')}, {100.0 * cheapest.cost:.3g} % of the full training. Among the better "
            f"half its tau is {_tau_text(cheapest.tau_of_better_half)}."
        )
    if num_failed:
        sentences.append(f"{_counted(num_failed, 'candidate')} of {lines[0].candidates} failed, which ranks last.")
    return " ".join(sentences)


def as_markdown(lines: Sequence[ProxyLine], level: int = 3) -> str:
    """Return a heading of this level, a table and a summary for each task."""
    parts: list[str] = []
    for task in dict.fromkeys(line.task for line in lines):
        task_lines = [line for line in lines if line.task == task]
        parts += [
            f"{'#' * level} {heading(task_lines, code)}",
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"|{'---|' * len(COLUMNS)}",
        ]
        parts += [f"| {' | '.join(cells(line))} |" for line in task_lines]
        parts += ["", summarize(task_lines, code), ""]
    return "\n".join(parts)


def _tau_text(tau: float | None) -> str:
    return "undefined" if tau is None else f"{tau:.2f}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
