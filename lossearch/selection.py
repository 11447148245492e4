"""Selection: which losses of a population become parents, and which survive.

Invariant: every random choice comes from the generator that was passed in.
"""

import random
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from deap import tools

from lossearch.member import Member


class Parents(Protocol):
    """A population that parents are drawn from."""

    def draw(self, generator: random.Random) -> Member:
        """One parent."""


class Tournament:
    """Of two members the better: on the better front, else in the emptier part of it (NSGA-II, Deb et al., 2002)."""

    def __init__(self, population: Sequence[Member]) -> None:
        self._population = population

    def draw(self, generator: random.Random) -> Member:
        """One parent."""
        one, other = generator.choice(self._population), generator.choice(self._population)
        if other.fitness.dominates(one.fitness):
            return other
        if one.fitness.dominates(other.fitness):
            return one
        return one if one.fitness.crowding_dist >= other.fitness.crowding_dist else other


class Lexicase:
    """Who is nearly the best on one case after the other, in random order: epsilon-lexicase.

    La Cava, Spector & Danai, "Epsilon-lexicase selection for regression", GECCO 2016, with the best of a case sought
    among those left, and epsilon over the population: the semi-dynamic form of La Cava et al., Evolutionary Computation
    27(3), 2019. A case is a task and a seed. Specialists of one become parents, whatever their mean.
    """

    def __init__(self, population: Sequence[Member]) -> None:
        self._population = population

    @cached_property
    def _worth(self) -> np.ndarray:
        """Fitness on each case, [members, cases]; one that is known by its mean alone has it on each."""
        count = max(len(each.cases) for each in self._population)
        rows = [each.cases if len(each.cases) == count else (each.worth,) * count for each in self._population]
        return np.array(rows)

    @cached_property
    def _epsilon(self) -> np.ndarray:
        """The median absolute deviation of each case."""
        deviations: np.ndarray = np.abs(self._worth - np.median(self._worth, 0))
        return np.asarray(np.median(deviations, 0))

    def draw(self, generator: random.Random) -> Member:
        """One parent."""
        left = np.arange(len(self._population))
        cases = list(range(self._worth.shape[1]))
        generator.shuffle(cases)
        for case in cases:
            worth = self._worth[left, case]
            left = left[worth >= worth.max() - self._epsilon[case]]
            if len(left) == 1:
                break
        return self._population[generator.choice(left.tolist())]


#: The ways of choosing parents, by what an experiment calls them.
PARENTS: dict[str, type[Tournament] | type[Lexicase]] = {"pareto": Tournament, "lexicase": Lexicase}


def survivors(everyone: Sequence[Member], count: int) -> list[Member]:
    """So many members, those of the better fronts first, of the last the loneliest (NSGA-II, Deb et al., 2002)."""
    kept: list[Member] = tools.selNSGA2(everyone, count, nd="log")  # the standard sort takes 30 times as long
    return kept


def front(population: Sequence[Member]) -> list[Member]:
    """The Pareto front of fitness and complexity, the fittest first, one member for each of its points."""
    found: list[Member] = []
    for member in sorted(population, key=lambda each: (-each.worth, each.formula.size)):
        if not found or member.formula.size < found[-1].formula.size:
            found.append(member)
    return found
