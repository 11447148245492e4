"""Measure what a second worker adds: the same cohorts on one Ray actor and on two, in turns.

It prints the seconds of each run and the ratio of the medians. Two actors need two free cores.
"""

import argparse
import json
import statistics
import time

import ray

from lossearch.evaluators.executors.ray_executor import RayExecutor
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.work import Candidate, Work
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.identity.algebra import canonical
from lossearch.results.records import loss_id

LOSSES = (
    "cross_entropy",
    "mse",
    "mae",
    "focal",
    "ngl",
    "symmetric_cross_entropy",
    "generalized_cross_entropy",
    "poly1",
)


def cohorts(count: int, steps: int) -> list[Work]:
    """Make cohorts of eight known losses each, two seeds of each loss, on digits; no two share seeds."""
    texts = [str(canonical(CATALOG[name].bound())) for name in LOSSES]
    candidates = tuple(Candidate(loss_id(text), text, 1, 0, "known", 1) for text in texts)
    fidelity = TrainingSettings(steps=steps, seeds=2)
    return [Work(candidates, "digits", fidelity, run_seed) for run_seed in range(count)]


def seconds_on(pool: RayExecutor, works: list[Work]) -> float:
    """Return the seconds until all cohorts are trained."""
    started = time.perf_counter()
    pending = [pool.submit(work) for work in works]
    while not all(job.done() for job in pending):
        pool.wait([job for job in pending if not job.done()], timeout=1.0)
    return time.perf_counter() - started


def measure(count: int, steps: int, repeats: int) -> dict[str, object]:
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)  # one pool works, one is idle
    pools = {workers: RayExecutor(workers=workers) for workers in (1, 2)}
    durations: dict[int, list[float]] = {1: [], 2: []}
    for workers, pool in pools.items():
        seconds_on(pool, cohorts(2 * workers, 10))  # start the actors
    for _ in range(repeats):
        for workers, pool in pools.items():
            durations[workers].append(seconds_on(pool, cohorts(count, steps)))
    ray.shutdown()
    medians = {workers: statistics.median(seconds) for workers, seconds in durations.items()}
    return {
        "cohorts": count,
        "seconds": {
            str(workers): [round(duration, 2) for duration in seconds] for workers, seconds in durations.items()
        },
        "two_workers_over_one": round(medians[1] / medians[2], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=16)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    chosen = parser.parse_args()
    print(json.dumps({"workers": measure(chosen.cohorts, chosen.steps, chosen.repeats)}))


if __name__ == "__main__":
    main()
