"""Measure what each part of the search adds at an equal budget; print JSON.

Every case trains the same number of candidates under ten seeds. The gain of a search is the fitness of its best loss
under six fresh seeds on the validation split, minus that of cross-entropy. Fresh seeds remove the luck of the seeds
that selected the loss. Differences to the plain search are paired by task and seed; their intervals are Student's t.

Some cases of ablation.jsonl are no longer here: their parts were removed from the code. The lines of ablation.jsonl,
ablation_1200.jsonl and ablation_1200_by_100.jsonl do not name their budget, so they are summarised but not extended.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from lossearch.engine.launch import search
from lossearch.engine.retests import LAST_ROUNDS
from lossearch.results.statistics.intervals import interval, mean
from lossearch.runs.experiment import Experiment, validated

Found = TypeVar("Found")

#: Fields that identify a search in a file.
KEY = ("case", "task", "seed", "population", "generations")

#: Differences from the plain search, by the name of the case.
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "random search": {"random_trees": 1.0},
    "family": {"family_mutation": 0.15},
    "insertion": {"insertion": 0.15},
    "margin": {"margin": 0.1},
    "wrapping": {"wrapping": 0.1},
    "hoist and shrink": {"hoist": 0.05, "shrink": 0.1},
    "nesting": {"max_nesting": 2},
    "all": {
        "family_mutation": 0.15,
        "insertion": 0.15,
        "margin": 0.1,
        "wrapping": 0.1,
        "hoist": 0.05,
        "shrink": 0.1,
        "max_nesting": 2,
    },
    "no crossover": {"crossover": 0.0},
    "islands": {"islands": 4},
    "retests": {"retests": 1},  # of an eighth of the population; of fewer candidates, see experiment()
}


def experiment(task: str, seed: int, population: int, generations: int, changes: dict[str, Any]) -> Experiment:
    """Make a small search on a task."""
    evolution = {
        "population": population,
        "generations": generations,
        "terminals": ["p", "y", "z", "cosine"],
        "seeds": ["cross_entropy", "mse", "ngl", "am_softmax"],
        "max_nesting": 64,  # the plain search allows sin of sin of sin
    }
    if "retests" in changes:  # a retest is half of a candidate, which has two seeds; cross-entropy's count as well
        retests = population // 8
        trained = retests * (generations + LAST_ROUNDS) + generations + LAST_ROUNDS
        changes = {"retests": retests, "population": population - math.ceil(trained / (2 * generations))}
    declared = {
        "name": "ablation",
        "task": task,
        "seed": seed,
        "fidelity": {"steps": 120, "seeds": 2},
        "evolution": evolution | changes,
        "executor": {"kind": "inline"},
    }
    return validated(declared, "ablation")


def worth(case: str, task: str, seed: int, population: int, generations: int) -> dict[str, Any]:
    """Run a search and measure its best loss."""
    declared = experiment(task, seed, population, generations, CASES[case])
    with tempfile.TemporaryDirectory() as folder:
        run = search(declared, run_dir=Path(folder) / "run")
    assert run.trial is not None
    row = run.leaderboard.rows[0]
    return {
        "case": case,
        "task": task,
        "seed": seed,
        "population": population,
        "generations": generations,
        "gain": run.trial.difference,
        "chosen_by": row.difference_to_cross_entropy,
        "complexity": row.complexity,
        "formula": row.formula,
    }


def summary(searches: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise mean gains by task, and differences to the plain search with 95 % intervals.

    An entry is None if there are too few pairs. Raises ValueError if the searches differ in their budget.
    """
    budgets = {(line.get("population"), line.get("generations")) for line in searches}
    if len(budgets) > 1:
        raise ValueError(f"Expected searches of one budget, got {sorted(budgets, key=str)}. Sum up each by itself.")
    gains = {(line["case"], line["task"], line["seed"]): line["gain"] for line in searches if line["gain"] is not None}
    result: dict[str, Any] = {}
    for case in dict.fromkeys(line["case"] for line in searches):
        of_case = {(task, seed): gain for (name, task, seed), gain in gains.items() if name == case}
        differences = [gain - gains["plain", *key] for key, gain in of_case.items() if ("plain", *key) in gains]
        limits = interval(differences)
        result[case] = {
            "gain": {
                name: round(mean(g for (task, _), g in of_case.items() if task == name), 4) for name, _ in of_case
            },
            "difference_to_plain": round(mean(differences), 4) if differences else None,
            "interval": None if limits is None else [round(limit, 4) for limit in limits],
            "complexity": round(mean(line["complexity"] for line in searches if line["case"] == case), 1),
            "searches": len(of_case),
        }
    return result


def held(path: Path | None) -> list[dict[str, Any]]:
    """Read a file of JSON lines; a missing file has none."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def add(path: Path | None, line: dict[str, Any]) -> None:
    """Append a line of JSON to a file, if one is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def as_they_end(jobs: Mapping[Future[Found], str]) -> Iterator[Found]:
    """Yield the results of jobs as they end.

    A job that fails is named on stderr. Jobs that have not begun when this generator stops never begin.
    """
    try:
        for job in as_completed(jobs):
            error = job.exception()
            if error is None:
                yield job.result()
            else:
                print(f"{jobs[job]}: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        for job in jobs:
            job.cancel()


def key_of(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the key of a search in its file. Raises ValueError if the line lacks a part of it."""
    missing = [name for name in KEY if name not in line]
    if missing:
        got = {name: line[name] for name in KEY if name in line}
        raise ValueError(f"Expected lines with {', '.join(missing)}, got {got} without. Give --out another file.")
    return tuple(line[name] for name in KEY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["digits_noisy", "digits_long_tail"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), help="beside the plain search")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--population", type=int, default=40)
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--out", type=Path, help="file that gets a line of JSON for each search; searches in it are not repeated"
    )
    chosen = parser.parse_args()
    budget = chosen.population, chosen.generations
    wanted = [
        (case, task, seed, *budget)
        for seed in range(chosen.seeds)
        for task in chosen.tasks
        for case in dict.fromkeys(["plain", *chosen.cases])
    ]
    try:
        known = {key_of(line): line for line in held(chosen.out)}
    except ValueError as error:
        parser.error(str(error))
    searches = [line for key, line in known.items() if key[-2:] == budget]
    missing = [key for key in wanted if key not in known]
    failed = len(missing)
    with ProcessPoolExecutor(chosen.processes) as pool:
        for line in as_they_end({pool.submit(worth, *key): str(key) for key in missing}):
            add(chosen.out, line)
            searches.append(line)
            failed -= 1
    print(json.dumps({"budget": chosen.population * chosen.generations, "cases": summary(searches)}, indent=2))
    if failed:
        sys.exit(f"{failed} of {len(missing)} searches failed")


if __name__ == "__main__":
    main()
