"""Member: an evaluated loss of a population, and what of it a checkpoint keeps."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from deap import base, tools

from lossearch.primitives.language.formula import Formula


class Fitness(base.Fitness):
    """Fitness to be large, complexity to be small."""

    weights = (1.0, -1.0)


class Member:
    """An evaluated loss of a population."""

    def __init__(
        self,
        loss_id: str,
        formula: Formula,
        fitness: float,
        class_weights: str | None = None,
        island: int | None = None,
    ) -> None:
        self.loss_id = loss_id
        self.formula = formula
        self.class_weights = class_weights
        self.island = island
        self.fitness = Fitness((fitness, float(formula.size)))

    @property
    def worth(self) -> float:
        """Its fitness alone."""
        return float(self.fitness.values[0])

    def revalue(self, fitness: float | None) -> None:
        """Give it another fitness, where there is one; its other objectives stay."""
        if fitness is not None:
            self.fitness = Fitness((fitness, float(self.formula.size)))

    def on_island(self, island: int) -> "Member":
        """A copy for another population, which does not know its place on the front."""
        return Member(self.loss_id, self.formula, self.worth, self.class_weights, island)

    def state(self) -> dict[str, Any]:
        """What restores it, as plain JSON data."""
        crowding = getattr(self.fitness, "crowding_dist", math.inf)
        return {
            "loss_id": self.loss_id,
            "formula": str(self.formula),
            "class_weights": self.class_weights,
            "fitness": self.worth,
            "crowding": crowding if math.isfinite(crowding) else None,
        }


def restored(saved: dict[str, Any], read: Callable[[str], Formula], island: int | None = None) -> Member:
    """A member from its saved state; ``read`` parses a formula."""
    member = Member(saved["loss_id"], read(saved["formula"]), saved["fitness"], saved.get("class_weights"), island)
    member.fitness.crowding_dist = math.inf if saved["crowding"] is None else float(saved["crowding"])
    return member


# --- Selection: which losses of a population become parents, and which survive.
#
# Invariant: every random choice comes from the generator that was passed in.


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


def select(everyone: Sequence[Member], count: int) -> list[Member]:
    """So many members, those of the better fronts first, of the last the loneliest (NSGA-II, Deb et al., 2002)."""
    kept: list[Member] = tools.selNSGA2(everyone, count, nd="log")  # the standard sort takes 30 times as long
    return kept
