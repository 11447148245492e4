"""Evolution: a population of formulas that vary and are selected.

Invariant: every random choice comes from the generator that was passed in, and every formula that is born keeps the
size limits, whether it is a seed, a random tree or a child.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossearch.evolution.members import Member, Tournament, restored, select
from lossearch.evolution.trees import Trees
from lossearch.evolution.variation import deepest_nesting, varied
from lossearch.primitives.analysis.targets import moves
from lossearch.primitives.errors import UserError
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.modules.class_weights import suits
from lossearch.runs.experiment import VARIATIONS, EvolutionSettings

_ATTEMPTS = 50  # to make one child that keeps the limits


@dataclass(frozen=True)
class Birth:
    """A formula that evolution proposes, how it was born and from which losses.

    ``class_weights`` are those of a loss over embeddings, inherited from its parents; None over logits. ``island`` is
    the number of the population that proposes it, where there are several.
    """

    formula: Formula
    birth: str
    parents: tuple[str, ...] = ()
    name: str | None = None
    class_weights: str | None = None
    island: int | None = None


class Evolution:
    """A population of losses: ``ask`` it for births, ``tell`` it what they were worth.

    The first births are the seeds, then random trees until the first population is complete; after that
    each is a child of members, or now and then a new random tree. Survival is NSGA-II's (Deb et al., 2002) on fitness
    against complexity.
    """

    def __init__(self, settings: EvolutionSettings, seeds: Sequence[Birth], generator: random.Random) -> None:
        self._settings = settings
        self.generator = generator
        self._unborn = list(seeds)
        self._trees = Trees(settings)
        self._weights = {name: getattr(settings, key) for name, key in VARIATIONS.items() if getattr(settings, key)}
        self._keep([])

    def _keep(self, population: list[Member]) -> None:
        self.population = population
        self._parents = Tournament(population)

    @property
    def has_starting_losses(self) -> bool:
        """Whether a seed was not asked for yet."""
        return bool(self._unborn)

    def bear(self, seeds: Sequence[Birth]) -> None:
        """Have these seeds born next, and no other ones."""
        self._unborn = list(seeds)

    def ask(self, fresh: bool = False) -> Birth:
        """The next formula to consider; ``fresh`` is one without parents. It may equal one that was born before."""
        if self._unborn:
            return self._unborn.pop(0)
        if fresh or not self.population:
            return self._random_birth()
        if self.generator.random() < self._settings.random_trees:
            return self._random_birth()
        return self._child()

    def tell(self, members: Sequence[Member]) -> None:
        """Take in a generation's evaluated losses and keep the best of old and new."""
        everyone = [*self.population, *members]
        self._keep(select(everyone, min(self._settings.population, len(everyone))))

    def revalue(self, worth: Mapping[str, float | None]) -> None:
        """Take in what members are worth by now, by their ids; None of one that failed, which leaves."""
        if not any(each.loss_id in worth for each in self.population):
            return
        left = [each for each in self.population if worth.get(each.loss_id, 0.0) is not None]
        for member in left:
            member.revalue(worth.get(member.loss_id))
        self._keep(select(left, len(left)))

    def state(self) -> dict[str, Any]:
        """What continues this evolution exactly, as plain JSON data; ask only at the end of a generation."""
        version, numbers, normal = self.generator.getstate()
        return {
            "generator": [version, list(numbers), normal],
            "unborn": len(self._unborn),
            "population": [each.state() for each in self.population],
        }

    def restore(self, state: dict[str, Any], read: Callable[[str], Formula]) -> None:
        """Continue from a saved state; ``read`` parses a formula."""
        version, numbers, normal = state["generator"]
        self.generator.setstate((version, tuple(numbers), normal))
        self._unborn = self._unborn[len(self._unborn) - state["unborn"] :]
        self._keep([restored(each, read) for each in state["population"]])

    # --- birth --------------------------------------------------------------------------------------

    def _random_formula(self) -> Formula:
        for _ in range(10 * _ATTEMPTS):
            formula = self._viable(self._trees.grow(self.generator))
            if formula is not None:
                return formula
        raise UserError(
            "evolution: No random tree kept the limits: raise max_nodes or max_depth, or allow operators that look "
            "at the target"
        )

    def _random_birth(self) -> Birth:
        formula = self._random_formula()
        return Birth(formula, "random", class_weights=_inherited(formula, []))

    def _child(self) -> Birth:
        """A child of parents that are drawn; a random tree where many attempts fail."""
        names, weights = list(self._weights), list(self._weights.values())
        for _ in range(_ATTEMPTS):
            (chosen,) = self.generator.choices(names, weights)
            parents = [self._parents.draw(self.generator) for _ in range(2 if chosen == "crossover" else 1)]
            formula = self._varied(chosen, [parent.formula for parent in parents])
            if formula is not None and formula not in [parent.formula for parent in parents]:
                ids = tuple(parent.loss_id for parent in parents)
                return Birth(formula, chosen, ids, class_weights=_inherited(formula, parents))
        return self._random_birth()

    def _varied(self, how: str, parents: Sequence[Formula]) -> Formula | None:
        """What a kind of variation makes of the parents; None where it makes nothing that keeps the limits."""
        if self._trees.knows(how):
            return self._viable(self._trees.varied(how, parents, self.generator))
        return self._viable(varied(how, parents[0], self._settings, self.generator))

    def _viable(self, formula: Formula | None) -> Formula | None:
        """The formula, where there is one that keeps the limits and has a gradient for predictions."""
        settings = self._settings
        if formula is None or formula.size > settings.max_nodes or formula.depth > settings.max_depth:
            return None
        if not moves(formula):
            return None
        return formula if deepest_nesting(formula) <= settings.max_nesting else None


def _inherited(formula: Formula, parents: Sequence[Member]) -> str | None:
    """Class weights of a child: its first parent's that has some and suits it, else learned ones."""
    if not formula.looks_at_embeddings:
        return None
    return next(
        (
            parent.class_weights
            for parent in parents
            if parent.class_weights is not None and suits(parent.class_weights, formula)
        ),
        "learned",
    )
