"""Proxy table: how well shorter trainings rank losses as full ones do, always rebuildable from the values.

A candidate that fails under one of its seeds ranks last.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lossearch.results.findings.comparison import code
from lossearch.results.statistics.intervals import mean
from lossearch.results.statistics.rank_correlation import tau_b, tau_b_interval
from lossearch.results.storage.tables import read_records, write_records

# --- Proxy values: what each candidate was worth after full trainings and after shorter ones, one seed each.

VALUES_FILE = "values.parquet"


#: The training that shorter ones stand in for, as a value names it.
FULL = "full training"


#: Trainings of as many steps as the full one or fewer, under seeds that the full one does not have: the steps of the
#: full training are divided by so much.
PROXIES = {"1/8": 8, "1/4": 4, "1/2": 2, "all steps": 1}


@dataclass(frozen=True)
class ProxyValue:
    """One candidate's worth on a task after one training, on the validation split."""

    task: str
    loss_id: str
    formula: str
    name: str | None  #: of a known loss
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    proxy: str  #: full training, or which part of its steps
    steps: int
    full_steps: int  #: of the full training
    seed: int  #: index of the training seed
    metric: str
    fitness: float | None  #: of the metric, in [0, 1], larger is better; null where the training failed
    reason: str | None  #: why it failed


def write_values(folder: Path, values: Sequence[ProxyValue]) -> None:
    """Write the values into a folder."""
    write_records(folder / VALUES_FILE, ProxyValue, values)


def read_values(folder: Path) -> list[ProxyValue]:
    """The values in a folder. Raises DamagedFile, NewerFile, OSError."""
    found: list[ProxyValue] = read_records(folder / VALUES_FILE, ProxyValue)
    return found


TABLE_FILE = "table.parquet"

#: Kendall's tau with the full training that makes a proxy good enough to search with.
GOOD_ENOUGH = 0.6

#: The full training under other seeds: what as much training can be expected to reach. More seeds may do better.
CEILING = "full training again"

#: Seeds of a proxy.
SEEDS = (1, 2)

#: Worth of a candidate that fails: below everything that a metric can be.
_FAILED = -1.0

_BOOTSTRAP_SEED = 0

#: Fitness under each seed, in the order of the seeds, by the candidate's loss id.
Fitness = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class ProxyLine:
    """One proxy on one task, beside the full training."""

    task: str
    metric: str
    proxy: str  #: which part of the full training's steps
    steps: int
    seeds: int
    cost: float  #: steps under all seeds, as a share of the full training's under all of its seeds
    tau: float | None  #: Kendall's tau-b with the full training; null where one of them ranks all alike
    low: float | None  #: of the 95 % interval
    high: float | None
    tau_of_better_half: float | None  #: among the better half of the candidates by the full training
    candidates: int
    failed: int  #: of them, in the full training or in the proxy
    full_steps: int
    full_seeds: int
    ceiling: bool  #: whether it is the full training itself, under other seeds
    cheapest: bool = False  #: whether no cheaper proxy of the task is good enough, and it is


def proxy_lines(values: Sequence[ProxyValue]) -> list[ProxyLine]:
    """The lines of every task, cheapest proxy first, the noise ceiling last."""
    found: list[ProxyLine] = []
    for task in dict.fromkeys(each.task for each in values):
        found += _with_cheapest(sorted(_lines([each for each in values if each.task == task]), key=_by_cost))
    return found


def chosen(lines: Sequence[ProxyLine], task: str) -> ProxyLine | None:
    """The cheapest proxy of a task that is good enough; None where none is."""
    return next((each for each in lines if each.task == task and each.cheapest), None)


def write_lines(folder: Path, lines: Sequence[ProxyLine]) -> None:
    """Write the lines into a folder."""
    write_records(folder / TABLE_FILE, ProxyLine, lines)


def read_lines(folder: Path) -> list[ProxyLine]:
    """The lines in a folder. Raises DamagedFile, NewerFile, OSError."""
    found: list[ProxyLine] = read_records(folder / TABLE_FILE, ProxyLine)
    return found


def _lines(values: Sequence[ProxyValue]) -> Iterator[ProxyLine]:
    """The lines of one task."""
    full = _fitness(values, FULL)
    full_seeds = max(map(len, full.values()))
    for proxy in PROXIES:
        own = [each for each in values if each.proxy == proxy]
        for seeds in SEEDS:
            yield _line(proxy, own[0], _first(_fitness(own, proxy), seeds), full, full_seeds)
    again = [each for each in values if PROXIES.get(each.proxy) == 1]
    yield _line(CEILING, again[0], _first(_fitness(again, again[0].proxy), full_seeds), full, full_seeds)


def _line(proxy: str, head: ProxyValue, own: Fitness, full: Fitness, full_seeds: int) -> ProxyLine:
    """``head`` is a value of the proxy."""
    pairs = [(_worth(full[loss]), _worth(own[loss])) for loss in full]
    better = sorted(pairs, key=lambda pair: -pair[0])[: (len(pairs) + 1) // 2]
    seeds = max(map(len, own.values()))
    interval = tau_b_interval(*_columns(pairs), np.random.default_rng(_BOOTSTRAP_SEED))
    low, high = interval or (None, None)
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
        tau_of_better_half=tau_b(*_columns(better)),
        candidates=len(pairs),
        failed=sum(_FAILED in pair for pair in pairs),
        full_steps=head.full_steps,
        full_seeds=full_seeds,
        ceiling=proxy == CEILING,
    )


def _with_cheapest(lines: Sequence[ProxyLine]) -> list[ProxyLine]:
    """The lines of one task, with the cheapest proxy marked that is good enough; of two as cheap, the better one.

    None that costs what the full training does, which can be had itself.
    """
    cheaper = [each for each in lines if not each.ceiling and each.cost < 1.0]
    good = [each for each in cheaper if each.tau is not None and each.tau >= GOOD_ENOUGH]
    best = min(good, key=lambda each: (each.cost, -(each.tau or 0.0)), default=None)
    return [replace(each, cheapest=each is best) for each in lines]


def _by_cost(line: ProxyLine) -> tuple[bool, float, int]:
    return line.ceiling, line.cost, line.steps


def _fitness(values: Sequence[ProxyValue], proxy: str) -> Fitness:
    found: dict[str, list[float | None]] = {}
    for each in sorted((each for each in values if each.proxy == proxy), key=lambda each: each.seed):
        found.setdefault(each.loss_id, []).append(each.fitness)
    return {loss: found[loss] for loss in dict.fromkeys(each.loss_id for each in values) if loss in found}


def _first(fitness: Fitness, seeds: int) -> Fitness:
    """The fitness under so many seeds."""
    return {loss: under_each[:seeds] for loss, under_each in fitness.items()}


def _worth(fitness: Sequence[float | None]) -> float:
    """The mean under all seeds; that of a failure where one failed."""
    values = [each for each in fitness if each is not None]
    return mean(values) if len(values) == len(fitness) else _FAILED


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]


# --- What is said of proxies, for a terminal and a page alike: cells, headings, and which proxy is chosen.

COLUMNS = ("proxy", "steps", "seeds", "cost", "tau", "95 % interval", "tau, better half", "candidates", "")


def heading(lines: Sequence[ProxyLine]) -> str:
    """Of the table of one task."""
    head = lines[0]
    return f"{head.task}: {head.metric} on the validation split, full training {head.full_steps} steps x {_seeds(head)}"


def cells(line: ProxyLine) -> tuple[str, ...]:
    """One line of a table."""
    interval = "" if line.low is None or line.high is None else f"{line.low:.2f} to {line.high:.2f}"
    return (
        line.proxy,
        str(line.steps),
        str(line.seeds),
        f"{100.0 * line.cost:.3g} %",
        _tau(line.tau),
        interval,
        _tau(line.tau_of_better_half),
        str(line.candidates),
        "cheapest" if line.cheapest else "noise ceiling" if line.ceiling else "",
    )


def said(lines: Sequence[ProxyLine]) -> str:
    """Which proxy of a task is chosen, and how many candidates failed, in a few sentences."""
    task, failed = lines[0].task, max(each.failed for each in lines)
    found, parts = chosen(lines, task), []
    if all(each.tau is None for each in lines):
        parts.append(f"{task}: tau is undefined, since all candidates are worth the same in one of the rankings.")
    elif found is None:
        parts.append(f"{task}: no proxy reaches a tau of {GOOD_ENOUGH:g}, so that the full training is to be used.")
    else:
        parts.append(
            f"{task}: the cheapest proxy with a tau of {GOOD_ENOUGH:g} or more has {found.steps} steps and "
            f"{_number(found.seeds, 'seed')}, {100.0 * found.cost:.3g} % of the full training. Among the better half "
            f"its tau is {_tau(found.tau_of_better_half)}."
        )
    if failed:
        parts.append(f"{_number(failed, 'candidate')} of {lines[0].candidates} failed, which ranks last.")
    return " ".join(parts)


def as_markdown(lines: Sequence[ProxyLine], level: int = 3) -> str:
    """A heading of this level, a table and what is said for each task."""
    parts: list[str] = []
    for task in dict.fromkeys(each.task for each in lines):
        own = [each for each in lines if each.task == task]
        title = heading(own).replace(task, code(task), 1)
        parts += [f"{'#' * level} {title}", "", f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
        parts += [f"| {' | '.join(cells(each))} |" for each in own]
        parts += ["", said(own).replace(task, code(task), 1), ""]
    return "\n".join(parts)


def _tau(tau: float | None) -> str:
    return "undefined" if tau is None else f"{tau:.2f}"


def _seeds(line: ProxyLine) -> str:
    return _number(line.full_seeds, "seed")


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
