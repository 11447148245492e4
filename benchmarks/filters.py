"""Measure what the filters of a search save, and how often they refuse a good candidate; print JSON.

Filters are the duplicate test, each check of the screening, and each rung. A random sample of what each refused is
trained in full after all, by the search's own protocol: its seeds, steps and canonical form. A refused candidate was
good if its mean fitness reaches the bar: the worst of the top tenth of the candidates that the search trained to the
end. A second count takes cross-entropy's fitness for the bar. Intervals are exact binomial ones (Clopper and Pearson,
1934).

A duplicate is worth what its original is, so a duplicate was lost only if its original is not good. Rungs are measured
in a search of their own, whose top tenth is that of the candidates that passed all rungs. The number of good candidates
lost is reported beside the number kept: if few among many refused were good, most of the good ones may still be gone.
"""

import argparse
import json
import math
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from benchmarks.ablation import add, as_they_end, held
from lossearch.engine.generational import GenerationalSearch
from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.executors.executor import InlineExecutor
from lossearch.evaluators.work import Candidate, Work, candidate_of
from lossearch.primitives.identity.algebra import canonical
from lossearch.primitives.language.parser import parse
from lossearch.results.records import BASELINE, Evaluation
from lossearch.results.statistics.intervals import mean
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment, load_experiment, validated
from lossearch.runs.views import SilentView

COHORT = 50

#: Rounding of a mean fitness.
ROUNDING = 1e-9

DUPLICATE = "duplicate"

#: Mean fitness by birth number; None if a training of the candidate failed.
Worth = Mapping[int, float | None]


@dataclass(frozen=True)
class Filter:
    """A filter, the candidates it refused, and the training steps each was spared under one seed."""

    name: str
    refused: tuple[Candidate, ...]
    steps_saved: int


def check_of(reason: str) -> str:
    """Return the check of the screening that gives a reason. "not finite" includes the inputs concerned."""
    head, _, said = reason.partition(": ")
    return f"{head} on {said.rpartition(' on ')[2]}" if head == "not finite" else head


def filters(history: Sequence[Evaluation], steps: int) -> list[Filter]:
    """List the filters of a search with ``steps`` steps, in the order in which a candidate meets them."""
    refused_by: dict[str, list[Candidate]] = defaultdict(list)
    for evaluation in history:
        if evaluation.status in ("duplicate", "rejected"):
            refused_by[DUPLICATE if evaluation.status == "duplicate" else check_of(evaluation.reason or "")].append(
                candidate_of(evaluation)
            )
    return [
        *(Filter(name, tuple(refused), steps) for name, refused in sorted(refused_by.items())),
        *(Filter(f"rung at {rung}", tuple(stopped), steps - rung) for rung, stopped in _stopped(history)),
    ]


def _stopped(history: Sequence[Evaluation]) -> list[tuple[int, list[Candidate]]]:
    """Return the candidates that were stopped at each rung, by its steps, without those that failed."""
    failed = {evaluation.birth_number for evaluation in history if evaluation.status == "failed"}
    last: dict[int, Evaluation] = {}
    for evaluation in sorted(history, key=lambda evaluation: evaluation.steps or 0):
        if evaluation.steps is not None and evaluation.birth_number not in failed:
            last[evaluation.birth_number] = evaluation
    stopped: dict[int, list[Candidate]] = defaultdict(list)
    for number in sorted(last):
        if last[number].at_a_rung:
            stopped[last[number].steps or 0].append(candidate_of(last[number]))
    return sorted(stopped.items())


def trained(history: Sequence[Evaluation]) -> dict[str, float]:
    """Return mean fitness by loss id, for losses that the search trained to the end under every seed."""
    by_loss: dict[str, list[Evaluation]] = defaultdict(list)
    for evaluation in history:
        if evaluation.seed is not None and (evaluation.status == "failed" or not evaluation.at_a_rung):
            by_loss[evaluation.loss_id].append(evaluation)
    return {
        loss: mean(evaluation.fitness for evaluation in group if evaluation.fitness is not None)
        for loss, group in by_loss.items()
        if all(evaluation.fitness is not None for evaluation in group)
    }


def bars(history: Sequence[Evaluation]) -> dict[str, float]:
    """Return the fitness of the worst of the top tenth, and cross-entropy's."""
    worth = trained(history)
    ordered = sorted(worth.values(), reverse=True)
    baseline = next(
        evaluation.loss_id for evaluation in history if evaluation.name == BASELINE and evaluation.seed is not None
    )
    return {"top_tenth": ordered[max(0, len(ordered) // 10 - 1)], BASELINE: worth[baseline]}


def trained_after_all(candidates: Sequence[Candidate], experiment: Experiment) -> dict[int, float | None]:
    """Train refused candidates like admitted ones. Return mean fitness by birth number."""
    numbered = [_admitted(candidate) for candidate in candidates]
    fitness: dict[str, list[float | None]] = defaultdict(list)
    for start in range(0, len(numbered), COHORT):
        cohort = tuple(numbered[start : start + COHORT])
        work = Work(cohort, experiment.tasks[0], experiment.fidelity, experiment.seed, device="cpu")
        for evaluation in evaluate(work).evaluations:
            fitness[evaluation.loss_id].append(evaluation.fitness)
    return {int(number): _mean_of_all(values) for number, values in fitness.items()}


def _admitted(refused: Candidate) -> Candidate:
    """Make the candidate that admission would have made. Its loss id is its birth number, so that twins differ."""
    formula = canonical(parse(refused.formula))
    kind = refused.class_weights if formula.looks_at_embeddings else None
    number = str(refused.birth_number)
    return replace(refused, loss_id=number, formula=str(formula), complexity=formula.size, class_weights=kind)


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    finished = [value for value in values if value is not None]
    return mean(finished) if len(finished) == len(values) else None


def reaches(worth: float | None, bar: float) -> bool:
    """Return True if a fitness is as good as a bar; a failed training is not."""
    return worth is not None and worth >= bar - ROUNDING


def share(count: int, of: int) -> dict[str, Any]:
    """Return a count in a sample, its share, and the exact 95 % interval of the share."""
    low, high = limits_of(count, of)
    return {"count": count, "share": round(count / of, 4), "interval": [round(low, 4), round(high, 4)]}


def limits_of(count: int, of: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share, from a count in a sample."""
    limits = binomtest(count, of).proportion_ci(0.95, method="exact")
    return float(limits.low), float(limits.high)


def good_ones(search: Mapping[str, Any], kept: int | None = None) -> dict[str, Any]:
    """Estimate the number of good candidates that a search's filters lost, and their share of all good ones.

    ``search`` is the result of ``measure``. ``kept`` is the number of losses trained to the end that reach the bar; if
    it is unknown, the size of the top tenth bounds it from below and the share lost is an upper bound. Intervals are 95
    % intervals of the lost alone: the bar and the number kept are taken as exact.
    """
    lost, limits = _lost(search["filters"])
    good = max(1, search["trained_to_the_end"] // 10) if kept is None else kept
    return {
        "lost": round(lost, 1),
        "lost_interval": [round(limit, 1) for limit in limits],
        "kept": good,
        "kept_is": "at least" if kept is None else "exact",
        "share_lost": round(lost / (lost + good), 4),
        "interval": [round(limit / (limit + good), 4) for limit in limits],
    }


def _lost(reports: Sequence[Mapping[str, Any]]) -> tuple[float, tuple[float, float]]:
    """Estimate how many good ones the filters lost, with its interval.

    Each filter is taken to have lost the same share of all it refused as of its sample. The interval is propagated, not
    simulated: the distances of each filter's binomial limits are the sides of a right angle (Zou and Donner, Statistics
    in Medicine 27, 2008). If all of the refused were trained, the number lost is known. It is at
    least the number lost in the samples.
    """
    lost = below = above = 0.0
    for report in reports:
        count, sample, refused = wrongly(report)["count"], report["sample"], report["refused"]
        low, high = limits_of(count, sample)
        scale = refused if sample < refused else 0
        lost += refused * count / sample
        below = math.hypot(below, scale * (count / sample - low))
        above = math.hypot(above, scale * (high - count / sample))
    lost_in_samples = float(sum(wrongly(report)["count"] for report in reports))
    return lost, (max(lost - below, lost_in_samples), lost + above)


def wrongly(filter_: Mapping[str, Any]) -> dict[str, Any]:
    """Return the count of good candidates in a filter's sample, from its report."""
    return filter_.get("top_tenth_but_not_its_original", filter_["top_tenth"])


def report(filter_: Filter, sample: Worth, history: Sequence[Evaluation], seeds: int) -> dict[str, Any]:
    """Report the steps that a filter saved, and the number of good candidates in a sample of the refused."""
    limits, births = bars(history), max(evaluation.birth_number for evaluation in history)
    twins = {evaluation.birth_number: evaluation.loss_id for evaluation in filter_.refused}
    known = trained(history)
    originals = {number: known.get(twins[number]) for number in sample}
    finished = [value for value in sample.values() if value is not None]
    result: dict[str, Any] = {
        "filter": filter_.name,
        "refused": len(filter_.refused),
        "share_of_births": round(len(filter_.refused) / births, 4),
        "training_steps_saved": len(filter_.refused) * filter_.steps_saved * seeds,
        "sample": len(sample),
        "failed": len(sample) - len(finished),
        "mean_fitness": round(mean(finished), 4) if finished else None,
        "best_fitness": round(max(finished), 4) if finished else None,
    }
    for name, bar in limits.items():
        result[name] = share(sum(reaches(worth, bar) for worth in sample.values()), len(sample))
    if filter_.name == DUPLICATE:
        result |= dict(_beside_originals(sample, originals, limits))
    return result


def _beside_originals(sample: Worth, originals: Worth, limits: Mapping[str, float]) -> Iterator[tuple[str, Any]]:
    """Compare duplicates with their originals, if these were trained, and count those that were lost."""
    pairs = [
        (worth, original)
        for number, worth in sample.items()
        if worth is not None and (original := originals[number]) is not None
    ]
    differences = [abs(worth - original) for worth, original in pairs]
    yield "originals_trained", sum(fitness is not None for fitness in originals.values())
    yield "mean_absolute_difference", round(mean(differences), 5) if differences else None
    yield "largest_difference", round(max(differences), 5) if differences else None
    yield "exactly_as_good", sum(difference <= ROUNDING for difference in differences)
    for name, bar in limits.items():
        lost = sum(reaches(sample[number], bar) and not reaches(originals[number], bar) for number in sample)
        yield f"{name}_but_not_its_original", share(lost, len(sample))


def experiment(task: str, with_rungs: bool, seed: int, population: int | None, generations: int | None) -> Experiment:
    """Make the shipped search on digits for a task, with rungs at an eighth and half of the steps or without rungs."""
    declared = load_experiment("digits").model_dump()
    steps = declared["fidelity"]["steps"]
    sizes = {"population": population, "generations": generations}
    declared["evolution"] |= {key: value for key, value in sizes.items() if value is not None}
    declared["fidelity"] |= {"rungs": (steps // 8, steps // 2) if with_rungs else ()}
    declared["executor"] |= {"kind": "inline"}
    return validated(declared | {"task": task, "seed": seed}, "digits")


def history_of(declared: Experiment) -> list[Evaluation]:
    """Run a search and return its evaluations."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(declared, Path(folder) / "run")
        GenerationalSearch(declared, run, InlineExecutor("cpu"), SilentView()).execute()
        evaluations, _ = run.store.read()
        run.close()
    return evaluations


def case_of(declared: Experiment, size: int) -> dict[str, Any]:
    """Return the facts that identify a search and its sample size in a file."""
    return {
        "task": declared.tasks[0],
        "rungs": list(declared.fidelity.rungs),
        "steps": declared.fidelity.steps,
        "seeds": declared.fidelity.seeds,
        "seed": declared.seed,
        "population": declared.evolution.population,
        "generations": declared.evolution.generations,
        "sample": size,
    }


def measure(declared: Experiment, size: int) -> dict[str, Any]:
    """Run a search and measure its filters: its rungs if it has some, else the others."""
    history, rungs = history_of(declared), bool(declared.fidelity.rungs)
    reports = []
    for filter_ in filters(history, declared.fidelity.steps):
        if filter_.name.startswith("rung") is rungs:
            generator = random.Random(f"{declared.seed}-{filter_.name}")
            chosen = generator.sample(filter_.refused, min(size, len(filter_.refused)))
            reports.append(report(filter_, trained_after_all(chosen, declared), history, declared.fidelity.seeds))
    worth, limits = trained(history), bars(history)
    result = case_of(declared, size) | {
        "births": max(evaluation.birth_number for evaluation in history),
        "trained_to_the_end": len(worth),
        "bars": {name: round(bar, 4) for name, bar in limits.items()},
        "filters": reports,
    }
    kept = sum(reaches(fitness, limits["top_tenth"]) for fitness in worth.values())
    return result | {"good_ones": good_ones(result, kept)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["digits", "digits_noisy"])
    parser.add_argument("--sample", type=int, default=200, help="refused candidates trained for each filter, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--population", type=int, help="default: that of the shipped search on digits")
    parser.add_argument("--generations", type=int, help="default: that of the shipped search on digits")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--out", type=Path, help="file that gets a line of JSON for each search; searches in it are not repeated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    chosen = parser.parse_args()
    sizes = (chosen.seed, chosen.population, chosen.generations)
    declared = [experiment(task, rungs, *sizes) for task in chosen.tasks for rungs in (False, True)]
    wanted = [(setup, case_of(setup, chosen.sample)) for setup in declared]
    searches = held(chosen.out)
    missing = [(setup, case) for setup, case in wanted if not _of_case(case, searches)]
    with ProcessPoolExecutor(chosen.processes) as pool:
        for search in as_they_end({pool.submit(measure, setup, chosen.sample): str(case) for setup, case in missing}):
            add(chosen.out, search)
            searches.append(search)
    ended = [search for _, case in wanted for search in _of_case(case, searches)]
    print(json.dumps({"filters": ended}, indent=2))
    if len(ended) < len(wanted):
        sys.exit(f"{len(wanted) - len(ended)} of {len(wanted)} searches failed")


def _of_case(case: Mapping[str, Any], searches: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first search of a case, if there is one."""
    return [search for search in searches if case.items() <= search.items()][:1]


if __name__ == "__main__":
    main()
