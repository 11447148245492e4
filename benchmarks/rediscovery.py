"""Count how many candidates a search trains until it reaches cross-entropy, from random trees alone; print JSON.

The search is experiments/rediscovery.toml: it has no known loss among its seeds, and no operator ``ce``. Cross-entropy
is reached by the first candidate, in the order of birth, whose validation accuracy is as large under the same seeds, or
that is cross-entropy up to a factor and a constant; the latter arrives as a duplicate of the baseline and is not
trained. The first one above a line is partly lucky, so it is trained again, beside cross-entropy, under six fresh
seeds.
"""

import argparse
import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossearch.engine.generational import GenerationalSearch
from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.executors.executor import InlineExecutor
from lossearch.evaluators.work import Candidate, Work, candidate_of
from lossearch.results.records import BASELINE, Evaluation
from lossearch.results.statistics.intervals import interval, mean
from lossearch.runs import seed_ranges
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment, load_experiment, validated
from lossearch.runs.views import SilentView

#: Differences from the experiment, by the name of the case. Without p the softmax must be composed, too.
CASES: dict[str, dict[str, Any]] = {
    "search": {},
    "search without p": {"terminals": ["y", "z"]},
    "random trees alone, without p": {"random_trees": 1.0, "terminals": ["y", "z"]},
}

#: Largest number of candidates that a search of a case trains; fewer if few births are admitted.
BUDGET = {"search": 1_500, "search without p": 500, "random trees alone, without p": 500}

FRESH_SEEDS = 6

#: Rounding of a mean accuracy.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Sighting:
    """A candidate that reached the goal, and its cost: births considered and candidates trained, including itself."""

    candidate: Candidate
    births: int
    trained: int  #: itself counts where it was trained
    accuracy: float | None  #: None where it was not trained

    def facts(self) -> dict[str, Any]:
        """Return the sighting as plain data."""
        return {
            "candidates_trained": self.trained,
            "births_considered": self.births,
            "formula": self.candidate.formula,
            "accuracy": None if self.accuracy is None else round(self.accuracy, 4),
        }


class Seeking(GenerationalSearch):
    """A search that ends with the generation in which cross-entropy was both reached and found."""

    def _run_generations(self, start: int) -> None:
        self.history: list[Evaluation] = []
        with suppress(StopIteration):
            super()._run_generations(start)

    def _end_generation(self, number: int) -> None:
        super()._end_generation(number)
        self.history.extend(self.recorder.known.values())  # only this generation's: earlier ones are forgotten
        if reached(self.history) and identical(self.history):
            raise StopIteration


def reached(history: Sequence[Evaluation]) -> Sighting | None:
    """Return the first candidate as good as cross-entropy, or cross-entropy itself if it was born earlier."""
    line = mean(
        evaluation.fitness for evaluation in history if evaluation.name == BASELINE and evaluation.fitness is not None
    )
    good = next((pair for pair in _trained(history) if (pair[1] or 0.0) >= line - ROUNDING), None)
    twin = identical(history)
    if good is None or (twin is not None and twin.candidate.birth_number < good[0].birth_number):
        return twin
    return _sighting(history, *good)


def identical(history: Sequence[Evaluation]) -> Sighting | None:
    """Return the first candidate whose gradient points in the direction of cross-entropy's."""
    baseline = next(evaluation.loss_id for evaluation in history if evaluation.name == BASELINE)
    twins = (
        evaluation for evaluation in history if evaluation.status == "duplicate" and evaluation.loss_id == baseline
    )
    first = min(twins, key=lambda twin: twin.birth_number, default=None)
    return None if first is None else _sighting(history, candidate_of(first), None)


def _trained(history: Sequence[Evaluation]) -> Iterator[tuple[Candidate, float | None]]:
    """Return candidates in the order of birth with their mean accuracy, None for a failed one; without the baseline."""
    groups = defaultdict(list)
    for evaluation in history:
        if evaluation.seed is not None and evaluation.name != BASELINE:
            groups[evaluation.birth_number].append(evaluation)
    for _, group in sorted(groups.items()):
        accuracies = [evaluation.fitness for evaluation in group if evaluation.fitness is not None]
        yield candidate_of(group[0]), mean(accuracies) if len(accuracies) == len(group) else None


def _sighting(history: Sequence[Evaluation], candidate: Candidate, accuracy: float | None) -> Sighting:
    trained = sum(earlier.birth_number <= candidate.birth_number for earlier, _ in _trained(history))
    return Sighting(candidate, candidate.birth_number - 1, trained, accuracy)  # the first birth is the baseline's


def experiment(case: str, seed: int, candidates: int) -> Experiment:
    """Make the experiment under a seed, with a limit on its candidates."""
    declared = load_experiment("rediscovery", seed=seed).model_dump()
    generations = max(1, candidates // declared["evolution"]["population"])
    declared["evolution"] |= {"generations": generations, **CASES[case]}
    declared["executor"] |= {"kind": "inline"}
    return validated(declared, "rediscovery")


def measure(case: str, seed: int, candidates: int) -> dict[str, Any]:
    """Run one search and record when it reached cross-entropy and when it found it."""
    declared, started = experiment(case, seed, candidates), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(declared, Path(folder) / "run")
        search = Seeking(declared, run, InlineExecutor("cpu"), SilentView())
        search.execute()
        run.close()
    first, same = reached(search.history), identical(search.history)
    reached_by = None if first is None else first.facts() | {"fresh_difference": fresh_difference(declared, first)}
    return {
        "case": case,
        "seed": seed,
        "budget": candidates,
        "candidates_trained": search.progress.finished - 1,  # less the baseline
        "cross_entropy": search.progress.baseline_fitness,
        "reached": reached_by,
        "identical": same and same.facts(),
        "seconds": round(time.perf_counter() - started, 1),
    }


def fresh_difference(declared: Experiment, first: Sighting) -> float | None:
    """Return the mean difference to cross-entropy under fresh seeds: 0 for itself, None if a training fails."""
    if first.accuracy is None:
        return 0.0
    fidelity = declared.fidelity.model_copy(update={"seeds": FRESH_SEEDS})
    baseline = Candidate(BASELINE, "ce(z)", 2, 0, "baseline", 0, name=BASELINE)
    pair = (baseline, first.candidate)
    work = Work(pair, declared.tasks[0], fidelity, declared.seed, device="cpu", first_seed=seed_ranges.FRESH_SEED_TEST)
    accuracies: dict[str, list[float | None]] = defaultdict(list)
    for evaluation in evaluate(work).evaluations:
        accuracies[evaluation.loss_id].append(evaluation.fitness)
    ours, theirs = accuracies[first.candidate.loss_id], accuracies[BASELINE]
    if None in ours or None in theirs:
        return None
    return round(
        mean(accuracy for accuracy in ours if accuracy is not None)
        - mean(accuracy for accuracy in theirs if accuracy is not None),
        4,
    )


def quartiles(values: Sequence[float | None]) -> list[float | None]:
    """Return lower quartile, median and upper quartile; None (not reached) counts as later than every number."""
    ordered = sorted(math.inf if value is None else value for value in values)
    result: list[float | None] = []
    for share in (0.25, 0.5, 0.75):
        place = share * (len(ordered) - 1)
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        value = low if low == high else low + (place - math.floor(place)) * (high - low)
        result.append(value if math.isfinite(value) else None)
    return result


def summary(searches: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the searches of a case: their quartiles, and the differences of those trained again."""
    result: dict[str, Any] = {"searches": len(searches), "budget": searches[0]["budget"]}
    for event in ("reached", "identical"):
        result[event] = {"times": sum(search[event] is not None for search in searches)}
        for count in ("candidates_trained", "births_considered"):
            values = [search[event] and search[event][count] for search in searches]
            result[event][count] = {"quartiles": quartiles(values), "values": values}
    again = [
        search["reached"] for search in searches if search["reached"] and search["reached"]["accuracy"] is not None
    ]
    differences = [sighting["fresh_difference"] for sighting in again if sighting["fresh_difference"] is not None]
    limits = interval(differences)
    result["fresh_difference"] = {
        "searches": len(differences),
        "mean": round(mean(differences), 4) if differences else None,
        "interval": limits and [round(limit, 4) for limit in limits],
        "values": differences,
    }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, default=10, help="searches of each case: seeds from 0 on")
    parser.add_argument("--candidates", type=int, help="most candidates that a search trains [default: by case]")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    chosen = parser.parse_args()
    with ProcessPoolExecutor(chosen.processes) as pool:
        jobs = {
            case: [pool.submit(measure, case, seed, chosen.candidates or BUDGET[case]) for seed in range(chosen.seeds)]
            for case in chosen.cases
        }
        searches = {case: [job.result() for job in results] for case, results in jobs.items()}
    cases = {case: summary(results) | {"each": results} for case, results in searches.items()}
    print(json.dumps({"rediscovery": {"cases": cases}}, indent=2))


if __name__ == "__main__":
    main()
