"""Standing: how candidates stand at a stage of their training, and who goes on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lossearch.evaluators.work import Candidate
from lossearch.results.statistics.intervals import mean


@dataclass(frozen=True)
class Standing:
    """How a candidate stands at a stage: its mean fitness over the tasks, and handles of its states on each."""

    fitness: float
    states: Mapping[str, list[Any]]


def standing_on_all(on_each: Mapping[str, Standing | None]) -> Standing | None:
    """How a candidate stands on all tasks: by the mean of its fitness; None where it failed on one."""
    finished = {task: standing for task, standing in on_each.items() if standing is not None}
    if len(finished) < len(on_each):
        return None
    states = {task: standing.states[task] for task, standing in finished.items()}
    return Standing(mean(standing.fitness for standing in finished.values()), states)


def best_first(stand: Mapping[Candidate, Standing]) -> list[Candidate]:
    """Candidates by their fitness, the simpler of equals first."""
    return sorted(stand, key=lambda each: (-stand[each].fitness, each.complexity, each.birth_number))


def promoted(stand: Mapping[Candidate, Standing], reduction_factor: int) -> list[Candidate]:
    """Who goes on at a rung: the best one in so many, the simpler of equals, and every known loss.

    Everything is compared with the known losses, so that they are always trained to the end.
    """
    best = best_first(stand)
    count = math.ceil(len(best) / reduction_factor)
    going_on = {*best[:count], *(each for each in best if each.name is not None)}
    return sorted(going_on, key=lambda each: each.birth_number)
