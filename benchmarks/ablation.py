"""What each part of the search adds at an equal budget: searches with it and without it, under ten seeds; prints JSON.

A search trains so many candidates in every case. It is worth what its best loss reaches under six fresh seeds on the
validation split of the task, less what cross-entropy reaches under them, so that the luck of the seeds by which it was
chosen is gone. Differences to the plain search are paired by task and seed; their intervals are of Student's t.
Cases of ablation.jsonl that are not here were left out of the code after what they showed.
"""

import argparse
import json
import math
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from lossearch.experiment import Experiment, validated
from lossearch.launch import search
from lossearch.retesting import LAST_ROUNDS
from results.statistics import interval, mean

#: What differs from the plain search, by the name of the case.
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
    """A small search on a task."""
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
    """What a search found."""
    declared = experiment(task, seed, population, generations, CASES[case])
    with tempfile.TemporaryDirectory() as folder:
        run = search(declared, run_dir=Path(folder) / "run")
    assert run.trial is not None
    row = run.leaderboard.rows[0]
    return {
        "case": case,
        "task": task,
        "seed": seed,
        "gain": run.trial.difference,
        "chosen_by": row.difference_to_cross_entropy,
        "complexity": row.complexity,
        "formula": row.formula,
    }


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean gains by task, and differences to the plain search with 95 % intervals."""
    gains = {(each["case"], each["task"], each["seed"]): each["gain"] for each in found if each["gain"] is not None}
    result: dict[str, Any] = {}
    for case in dict.fromkeys(each["case"] for each in found):
        own = {(task, seed): gain for (name, task, seed), gain in gains.items() if name == case}
        differences = [gain - gains["plain", *key] for key, gain in own.items() if ("plain", *key) in gains]
        limits = interval(differences) or (math.nan, math.nan)
        result[case] = {
            "gain": {name: round(mean(g for (task, _), g in own.items() if task == name), 4) for name, _ in own},
            "difference_to_plain": round(mean(differences), 4),
            "interval": [round(limit, 4) for limit in limits],
            "complexity": round(mean(each["complexity"] for each in found if each["case"] == case), 1),
            "searches": len(own),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["digits_noisy", "digits_long_tail"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--population", type=int, default=40)
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="gets each search as it ends, a line of JSON; those it has are kept")
    chosen = parser.parse_args()
    lines = [] if chosen.out is None or not chosen.out.exists() else chosen.out.read_text().splitlines()
    found = [json.loads(line) for line in lines]
    known = {(each["case"], each["task"], each["seed"]) for each in found}
    with ProcessPoolExecutor(chosen.processes) as pool:
        jobs = [
            pool.submit(worth, case, task, seed, chosen.population, chosen.generations)
            for seed in range(chosen.seeds)
            for task in chosen.tasks
            for case in chosen.cases
            if (case, task, seed) not in known
        ]
        for job in jobs:
            found.append(job.result())
            if chosen.out is not None:
                with open(chosen.out, "a") as file:
                    file.write(json.dumps(found[-1]) + "\n")
    print(json.dumps({"budget": chosen.population * chosen.generations, "cases": summary(found)}, indent=2))


if __name__ == "__main__":
    main()
