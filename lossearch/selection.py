"""Selection: which losses of a population become parents, and which survive.

Invariant: every random choice comes from the generator that was passed in.
"""

import random
from collections.abc import Sequence

from deap import tools

from lossearch.member import Member


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


def survivors(everyone: Sequence[Member], count: int) -> list[Member]:
    """So many members, those of the better fronts first, of the last the loneliest (NSGA-II, Deb et al., 2002)."""
    kept: list[Member] = tools.selNSGA2(everyone, count, nd="log")  # the standard sort takes 30 times as long
    return kept
