"""Count how many of the best ten of 200 candidates rungs find again, and at what cost; print JSON.

There are two fixed sets: the first 200 candidates for logits that a search on digits admits (seed 1), and 200 that a
search evolved, which are much alike. All are trained to the end, and again from rung to rung as a search does it.
Beside that is how many of the best ten are found again at full cost under other seeds, the most that rungs could reach.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.stats import kendalltau

from benchmarks.cohort_timing import FORMULAS
from lossearch.engine.score import Score, promote, sort_best_first
from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.training.state import State
from lossearch.evaluators.work import Candidate, Result, Work
from lossearch.primitives.language.parser import parse
from lossearch.results.statistics.intervals import mean

FIRST = Path(__file__).parent / "first_generation.txt"
BEST, COUNT, COHORT = 10, 200, 50


def candidates_of(path: Path) -> list[Candidate]:
    lines = path.read_text().splitlines()[:COUNT]
    return [Candidate(f"loss{n}", text, parse(text).size, 0, "random", n) for n, text in enumerate(lines)]


def train_and_score(work: Work, candidates: Sequence[Candidate], states: dict[str, State]) -> tuple[Result, Any]:
    """Train candidates to the work's stage. Return the result with its states, and the candidates' scores."""
    total, left = Result([]), dict[str, State]()
    for start in range(0, len(candidates), COHORT):
        cohort = tuple(candidates[start : start + COHORT])
        result = evaluate(Work(cohort, work.task, work.fidelity, work.run_seed, work.stage), states)
        total.evaluations += result.evaluations
        left |= result.states
    fitness: dict[str, list[float]] = {}
    for evaluation in total.evaluations:
        if evaluation.fitness is not None:
            fitness.setdefault(evaluation.loss_id, []).append(evaluation.fitness)
    scores = {
        candidate: Score(mean(fitness[candidate.loss_id]), {})
        for candidate in candidates
        if len(fitness.get(candidate.loss_id, ())) == work.fidelity.seeds
    }
    return Result(total.evaluations, left), scores


def measure(path: Path, task: str, steps: int, seeds: int) -> dict[str, Any]:
    plain = TrainingSettings(steps=steps, seeds=seeds)
    rungs = TrainingSettings(steps=steps, seeds=seeds, rungs=(steps // 8, steps // 2))
    candidates = candidates_of(path)
    _, whole = train_and_score(Work((), task, plain, 0), candidates, {})
    _, other = train_and_score(Work((), task, plain, 1), candidates, {})
    entering, states, cost, before = candidates, dict[str, State](), 0, 0
    taus = []
    for stage in rungs.stages:
        cost += len(entering) * (stage - before)
        result, scores = train_and_score(Work((), task, rungs, 0, stage), entering, states)
        known = [candidate for candidate in scores if candidate in whole]
        taus.append(kendalltau([scores[loss].fitness for loss in known], [whole[loss].fitness for loss in known])[0])
        if stage != steps:
            entering, states, before = promote(scores, rungs.reduction_factor), result.states, stage
    wanted = set(sort_best_first(whole)[:BEST])
    return {
        "set": path.stem,
        "task": task,
        "steps": steps,
        "seeds": seeds,
        "rungs": list(rungs.rungs),
        "training_steps_ratio_to_all": round(cost / (len(candidates) * steps), 3),
        "of_the_best_ten_found_again": len(wanted & set(sort_best_first(scores)[:BEST])),
        "of_the_best_ten_found_again_by_other_seeds_at_full_cost": len(wanted & set(sort_best_first(other)[:BEST])),
        "best_ten_lie_within": round(
            whole[sort_best_first(whole)[:BEST][0]].fitness - whole[sort_best_first(whole)[:BEST][-1]].fitness, 4
        ),
        "loss_of_the_best_fitness": round(
            whole[sort_best_first(whole)[:BEST][0]].fitness - scores[sort_best_first(scores)[:BEST][0]].fitness, 4
        ),
        "tau_at_first_rung": round(float(taus[0]), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object, as it does anyway")
    parser.add_argument("--steps", type=int, nargs="*", default=[200, 600])
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts = [
        measure(path, task, steps, options.seeds)
        for path in (FIRST, FORMULAS)
        for task in ("digits", "digits_noisy")
        for steps in options.steps
    ]
    print(json.dumps({"rungs": counts}, indent=2))


if __name__ == "__main__":
    main()
