"""What the engine itself costs for each child: variation, canonical form, duplicate test and screening.

Evolves a population whose fitness is the accuracy after a few steps, so that children are of the kind that a
search breeds. Prints milliseconds per child, refused ones included.
"""

import argparse
import json
import random
import statistics
import time

import torch

from evaluators.evaluation import evaluate
from evaluators.fidelity import Fidelity
from evaluators.work import Work
from lossearch.admission import Admission, Refusal
from lossearch.evolution import Birth, Evolution, Member
from lossearch.experiment import load_experiment
from primitives.catalog import CATALOG
from primitives.parser import parse


def measure(generations: int, seed: int) -> dict[str, float | int]:
    torch.set_num_threads(1)
    settings = load_experiment("digits").evolution
    births = [Birth(CATALOG[name].bound(), "known", name=name) for name in settings.seeds]
    evolution, admission = Evolution(settings, births, random.Random(seed)), Admission()
    fidelity = Fidelity(steps=20, seeds=1)
    seconds: list[float] = []
    for generation in range(generations):
        members: list[Member] = []
        while len(members) < settings.population:
            started = time.perf_counter()
            decision = admission.decide(evolution.ask(), generation)
            seconds.append(time.perf_counter() - started)
            if not isinstance(decision, Refusal):
                (evaluation,) = evaluate(Work((decision,), "digits", fidelity, seed)).evaluations
                members.append(Member(decision.loss_id, parse(decision.formula), evaluation.fitness or 0.0))
        evolution.tell(members)
    milliseconds = sorted(1e3 * each for each in seconds[1:])  # the first one warms sympy and torch up
    return {
        "children": len(milliseconds),
        "median_ms": round(statistics.median(milliseconds), 2),
        "p95_ms": round(milliseconds[int(0.95 * len(milliseconds))], 2),
        "worst_ms": round(milliseconds[-1], 2),
        "first_ms": round(1e3 * seconds[0], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    arguments = parser.parse_args()
    print(json.dumps({"engine": measure(arguments.generations, arguments.seed)}))


if __name__ == "__main__":
    main()
