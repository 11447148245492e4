"""Proxy table: how well shorter trainings rank losses as full ones do, always rebuildable from the values.

A candidate that fails under one of its seeds ranks last.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lossearch.results.proxy_values import FULL, PROXIES, ProxyValue
from lossearch.results.rank_correlation import tau_b, tau_b_interval
from lossearch.results.record_tables import read_records, write_records
from lossearch.results.statistics import mean

FILE = "table.parquet"

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
    write_records(folder / FILE, ProxyLine, lines)


def read_lines(folder: Path) -> list[ProxyLine]:
    """The lines in a folder. Raises DamagedFile, NewerFile, OSError."""
    found: list[ProxyLine] = read_records(folder / FILE, ProxyLine)
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
