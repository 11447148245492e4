"""How many candidates a cohort trains in the time of one after the other in eager torch; ratios above 1 are faster.

In one run, by turns: the candidates of a cohort, which are formulas that a search on handwritten digits evolved
(``evolved_formulas.txt``), calibrated, trained and scored together, against a sample of the same candidates calibrated,
trained and scored one at a time with autograd and torch's own optimiser. On one core, or on a GPU where there is one.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from evaluators.cohort import Cohort
from evaluators.fidelity import Fidelity
from evaluators.tasks import known_task
from evaluators.training import train_alone
from primitives.formula import Formula
from primitives.joint_gradient import JointGradient
from primitives.parser import parse

FORMULAS = Path(__file__).parent / "evolved_formulas.txt"


def evolved(count: int) -> list[Formula]:
    return [parse(line) for line in FORMULAS.read_text().splitlines()[:count]]


def settings_of(formulas: Sequence[Formula], settings: int) -> list[Formula]:
    """Each formula, times so many numbers: settings of one formula."""
    return [parse(f"({formula})*{1.0 + k / 10}") for formula in formulas for k in range(settings)]


def ratio(formulas: Sequence[Formula], fidelity: Fidelity, sample: int, rounds: int) -> dict[str, float]:
    """Seconds of a candidate alone over those in the cohort, as medians of rounds by turns."""
    task, seeds = known_task("digits"), list(range(fidelity.seeds))
    together, alone = [], []
    for turn in range(rounds):
        started = time.perf_counter()
        Cohort(formulas, None, task, fidelity, seeds).train_and_score()
        together.append((time.perf_counter() - started) / len(formulas))
        chosen = [formulas[(turn * sample + k) % len(formulas)] for k in range(sample)]
        started = time.perf_counter()
        for formula in chosen:
            train_alone(formula, None, task, fidelity, seeds)
        alone.append((time.perf_counter() - started) / sample)
    ours, theirs = statistics.median(together), statistics.median(alone)
    trainings = fidelity.seeds * fidelity.steps
    return {
        "ratio": round(theirs / ours, 2),
        "ms_per_candidate_step": round(1e3 * ours / trainings, 4),
        "ms_per_candidate_step_alone": round(1e3 * theirs / trainings, 4),
        "candidates_per_second": round(1.0 / ours, 2),
    }


def compile_milliseconds(formulas: Sequence[Formula], rounds: int) -> float:
    """Of making a cohort's program, for each candidate, after the first time."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        JointGradient(formulas, 10)
        seconds.append(time.perf_counter() - started)
    return round(1e3 * statistics.median(seconds) / len(formulas), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object, as it does anyway")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    one, eight = Fidelity(steps=options.steps, seeds=1), Fidelity(steps=options.steps, seeds=8)
    small_cnn = Fidelity(steps=options.steps, seeds=1, network="cnn")
    ratio(evolved(2), Fidelity(steps=2, seeds=1), 1, 1)  # what is loaded once
    found: dict[str, Any] = {"device": "cpu", "threads": 1, "torch": torch.__version__}
    found["first_compile_ms_per_candidate"] = compile_milliseconds(evolved(256)[128:], 1)
    found["compile_ms_per_candidate"] = compile_milliseconds(evolved(64), options.rounds)
    for name, formulas, fidelity, sample in (
        ("mlp_cohort_of_64_to_one_at_a_time", evolved(64), one, 16),
        ("mlp_cohort_of_16_to_one_at_a_time", evolved(16), one, 16),
        ("mlp_cohort_of_256_to_one_at_a_time", evolved(256), one, 16),
        ("cnn_cohort_of_64_to_one_at_a_time", evolved(64), small_cnn, 8),
        ("mlp_8_formulas_x_8_seeds_to_one_at_a_time", evolved(8), eight, 2),
        ("mlp_8_formulas_x_8_settings_to_one_at_a_time", settings_of(evolved(8), 8), one, 16),
    ):
        measured = ratio(formulas, fidelity, sample, options.rounds)
        found |= {f"{name}_{what}": value for what, value in measured.items()}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
