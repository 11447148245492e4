"""Score: the fitness of candidates at a stage of their training, and the choice of candidates that train on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lossearch.evaluators.work import Candidate
from lossearch.results.statistics.intervals import mean


@dataclass(frozen=True)
class Score:
    """The mean fitness of a candidate over the tasks at a stage, and handles of its training states by task."""

    fitness: float
    states: Mapping[str, list[Any]]


def mean_score(scores: Mapping[str, Score | None]) -> Score | None:
    """Average the scores of a candidate over the tasks; None if it failed on one."""
    finished = {task: score for task, score in scores.items() if score is not None}
    if len(finished) < len(scores):
        return None
    states = {task: score.states[task] for task, score in finished.items()}
    return Score(mean(score.fitness for score in finished.values()), states)


def sort_best_first(scores: Mapping[Candidate, Score]) -> list[Candidate]:
    """Sort candidates by fitness, best first; of equals, the simpler one comes first."""
    return sorted(
        scores, key=lambda candidate: (-scores[candidate].fitness, candidate.complexity, candidate.birth_number)
    )


def promote(scores: Mapping[Candidate, Score], reduction_factor: int) -> list[Candidate]:
    """Choose the candidates that train on after a rung: the best ``1 / reduction_factor``, and every known loss.

    Known losses are always trained to the end, because every loss is compared with them. The result is in birth order.
    """
    ranked = sort_best_first(scores)
    count = math.ceil(len(ranked) / reduction_factor)
    promoted = {*ranked[:count], *(candidate for candidate in ranked if candidate.name is not None)}
    return sorted(promoted, key=lambda candidate: candidate.birth_number)
