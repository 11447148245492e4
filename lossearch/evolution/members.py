"""Members: the evaluated losses of a population, and NSGA-II's selection among them (Deb et al., 2002).

Invariant: every random choice comes from the generator that was passed in.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from deap import base, tools

from lossearch.primitives.language.formula import Formula


class Fitness(base.Fitness):
    """The two objectives: maximise fitness, minimise complexity."""

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
        """The fitness without the complexity."""
        return float(self.fitness.values[0])

    def revalue(self, fitness: float | None) -> None:
        """Replace the fitness unless it is None; the complexity stays."""
        if fitness is not None:
            self.fitness = Fitness((fitness, float(self.formula.size)))

    def on_island(self, island: int) -> "Member":
        """Copy the member for another population, without its crowding distance in this one."""
        return Member(self.loss_id, self.formula, self.worth, self.class_weights, island)

    def state(self) -> dict[str, Any]:
        """Return the state as plain JSON data, for ``restore_member``."""
        crowding = getattr(self.fitness, "crowding_dist", math.inf)
        return {
            "loss_id": self.loss_id,
            "formula": str(self.formula),
            "class_weights": self.class_weights,
            "fitness": self.worth,
            "crowding": crowding if math.isfinite(crowding) else None,
        }


def restore_member(saved: dict[str, Any], read: Callable[[str], Formula], island: int | None = None) -> Member:
    """Restore a member from its saved state; ``read`` parses a formula."""
    member = Member(saved["loss_id"], read(saved["formula"]), saved["fitness"], saved.get("class_weights"), island)
    member.fitness.crowding_dist = math.inf if saved["crowding"] is None else float(saved["crowding"])
    return member


class Tournament:
    """Draws parents: of two random members the one on the better front, else the less crowded one."""

    def __init__(self, population: Sequence[Member]) -> None:
        self._population = population

    def draw(self, generator: random.Random) -> Member:
        """Draw one parent."""
        first, second = generator.choice(self._population), generator.choice(self._population)
        if second.fitness.dominates(first.fitness):
            return second
        if first.fitness.dominates(second.fitness):
            return first
        return first if first.fitness.crowding_dist >= second.fitness.crowding_dist else second


def select(members: Sequence[Member], count: int) -> list[Member]:
    """Keep ``count`` members: whole fronts, the best first, and of the last front the least crowded members."""
    kept: list[Member] = tools.selNSGA2(members, count, nd="log")  # the standard sort takes 30 times as long
    return kept
