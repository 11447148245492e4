"""Measure what the engine itself costs for each child: variation, duplicate test, screening, canonical form.

It evolves a population whose fitness is the accuracy after a few steps, so that its children are of the kind that a
search breeds. It prints milliseconds for each child, including refused ones: the mean is what a search pays, the median
is over batches. The worst batch bounds what any single child took.
"""

import argparse
import json
import random
import statistics
import time

import torch

from lossearch.engine.admission import Admission
from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.work import Candidate, Work
from lossearch.evolution.members import Member
from lossearch.evolution.population import Birth, Evolution
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.parser import parse
from lossearch.runs.experiment import load_experiment


def measure(generations: int, seed: int, batch: int) -> dict[str, float | int]:
    torch.set_num_threads(1)
    settings = load_experiment("digits").evolution
    births = [Birth(CATALOG[name].bound(), "known", name=name) for name in settings.seeds]
    Admission().screen(births, 0)  # warms up sympy and torch
    evolution, admission = Evolution(settings, births, random.Random(seed)), Admission()
    asking: list[float] = []
    deciding: list[float] = []
    admitted = 0
    for generation in range(generations):
        candidates: list[Candidate] = []
        while len(candidates) < settings.population:
            started = time.perf_counter()
            born = [evolution.ask() for _ in range(batch)]
            asked = time.perf_counter()
            decisions = admission.screen(born, generation)
            asking.append(asked - started)
            deciding.append(time.perf_counter() - asked)
            candidates += [decision for decision in decisions if isinstance(decision, Candidate)]
        admitted += len(candidates)
        evolution.tell(_trained(candidates, seed))
    both = [sum(pair) for pair in zip(asking, deciding, strict=True)]
    return {
        "batch": batch,
        "children": batch * len(deciding),
        "admitted": admitted,
        **_milliseconds("ask", asking, batch),
        **_milliseconds("decide", deciding, batch),
        **_milliseconds("both", both, batch),
        "worst_batch_ms": round(1e3 * max(both), 1),
    }


def _trained(candidates: list[Candidate], seed: int) -> list[Member]:
    """Return the candidates as members of the population, with their accuracy after a few steps."""
    members = []
    for kind in {candidate.class_weights for candidate in candidates}:
        cohort = tuple(candidate for candidate in candidates if candidate.class_weights == kind)
        done = evaluate(Work(cohort, "digits", TrainingSettings(steps=20, seeds=1), seed)).evaluations
        fitness = {evaluation.loss_id: evaluation.fitness or 0.0 for evaluation in done}
        members += [
            Member(candidate.loss_id, parse(candidate.formula), fitness[candidate.loss_id], kind)
            for candidate in cohort
        ]
    return members


def _milliseconds(name: str, seconds: list[float], batch: int) -> dict[str, float]:
    """Compute mean and median for each child from the time of each batch."""
    of_a_child = [1e3 * duration / batch for duration in seconds]
    return {
        f"{name}_mean_ms": round(statistics.mean(of_a_child), 3),
        f"{name}_median_ms": round(statistics.median(of_a_child), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=128, help="children that are screened together")
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    arguments = parser.parse_args()
    print(json.dumps({"engine": measure(arguments.generations, arguments.seed, arguments.batch)}))


if __name__ == "__main__":
    main()
