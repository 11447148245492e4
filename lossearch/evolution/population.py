"""Evolution: a population of formulas that vary and are selected.

Invariant: every random choice comes from the generator that was passed in. Every formula that is born keeps the size
limits, whether it is a starting loss, a random tree or a child.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossearch.evolution.members import Member, Tournament, restore_member, select
from lossearch.evolution.trees import Trees
from lossearch.evolution.variation import deepest_nesting, vary
from lossearch.primitives.analysis.targets import moves
from lossearch.primitives.errors import UserError
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.modules.class_weights import suits
from lossearch.runs.experiment import VARIATIONS, EvolutionSettings

#: Attempts to make one child that keeps the limits.
_ATTEMPTS = 50


@dataclass(frozen=True)
class Birth:
    """A formula that evolution proposes: how it was born, and from which losses.

    ``class_weights`` is the kind of class weights of a loss over embeddings, inherited from its parents; None over
    logits. ``island`` is the number of the population that proposes it, or None if there is only one.
    """

    formula: Formula
    birth: str
    parents: tuple[str, ...] = ()
    name: str | None = None
    class_weights: str | None = None
    island: int | None = None


class Evolution:
    """A population of losses: ``ask`` it for births, ``tell`` it their fitness.

    The first births are the starting losses, then random trees until the first population is complete. After that
    each birth is a child of members, or now and then a new random tree. Survival is NSGA-II's (Deb et al., 2002), by
    fitness against complexity.
    """

    def __init__(self, settings: EvolutionSettings, starting_losses: Sequence[Birth], generator: random.Random) -> None:
        self._settings = settings
        self.generator = generator
        self._unborn = list(starting_losses)
        self._trees = Trees(settings)
        self._weights = {name: getattr(settings, key) for name, key in VARIATIONS.items() if getattr(settings, key)}
        self._keep([])

    def _keep(self, population: list[Member]) -> None:
        self.population = population
        self._parents = Tournament(population)

    @property
    def has_starting_losses(self) -> bool:
        """True until every starting loss was asked for."""
        return bool(self._unborn)

    def set_starting_losses(self, starting_losses: Sequence[Birth]) -> None:
        """Replace the starting losses that are left; they are born next."""
        self._unborn = list(starting_losses)

    def ask(self, fresh: bool = False) -> Birth:
        """Propose the next formula; ``fresh`` asks for one without parents. It may equal one that was born before."""
        if self._unborn:
            return self._unborn.pop(0)
        if fresh or not self.population:
            return self._make_random_birth()
        if self.generator.random() < self._settings.random_trees:
            return self._make_random_birth()
        return self._breed_child()

    def tell(self, members: Sequence[Member]) -> None:
        """Add evaluated losses, and keep the best of old and new."""
        candidates = [*self.population, *members]
        self._keep(select(candidates, min(self._settings.population, len(candidates))))

    def revalue(self, fitness: Mapping[str, float | None]) -> None:
        """Replace the fitness of members, by loss id; None removes a member."""
        if not any(member.loss_id in fitness for member in self.population):
            return
        staying = [member for member in self.population if fitness.get(member.loss_id, 0.0) is not None]
        for member in staying:
            member.revalue(fitness.get(member.loss_id))
        self._keep(select(staying, len(staying)))

    def state(self) -> dict[str, Any]:
        """Return the state as plain JSON data, for ``restore``; ask for it only at the end of a generation."""
        version, numbers, normal = self.generator.getstate()
        return {
            "generator": [version, list(numbers), normal],
            "unborn": len(self._unborn),
            "population": [member.state() for member in self.population],
        }

    def restore(self, state: dict[str, Any], read: Callable[[str], Formula]) -> None:
        """Continue from a saved state; ``read`` parses a formula."""
        version, numbers, normal = state["generator"]
        self.generator.setstate((version, tuple(numbers), normal))
        self._unborn = self._unborn[len(self._unborn) - state["unborn"] :]
        self._keep([restore_member(member, read) for member in state["population"]])

    def _grow_random_formula(self) -> Formula:
        for _ in range(10 * _ATTEMPTS):
            formula = self._keep_viable(self._trees.grow(self.generator))
            if formula is not None:
                return formula
        raise UserError(
            "evolution: No random tree kept the limits. Raise max_nodes or max_depth, or allow operators that look at "
            "the target."
        )

    def _make_random_birth(self) -> Birth:
        formula = self._grow_random_formula()
        return Birth(formula, "random", class_weights=_inherit_class_weights(formula, []))

    def _breed_child(self) -> Birth:
        """Vary drawn parents until a child keeps the limits; after many failed attempts grow a random tree."""
        kinds, weights = list(self._weights), list(self._weights.values())
        for _ in range(_ATTEMPTS):
            (kind,) = self.generator.choices(kinds, weights)
            parents = [self._parents.draw(self.generator) for _ in range(2 if kind == "crossover" else 1)]
            formula = self._vary(kind, [parent.formula for parent in parents])
            if formula is not None and formula not in [parent.formula for parent in parents]:
                ids = tuple(parent.loss_id for parent in parents)
                return Birth(formula, kind, ids, class_weights=_inherit_class_weights(formula, parents))
        return self._make_random_birth()

    def _vary(self, kind: str, parents: Sequence[Formula]) -> Formula | None:
        """Apply a kind of variation to parents; None if the result does not keep the limits."""
        if self._trees.can_vary(kind):
            return self._keep_viable(self._trees.vary(kind, parents, self.generator))
        return self._keep_viable(vary(kind, parents[0], self._settings, self.generator))

    def _keep_viable(self, formula: Formula | None) -> Formula | None:
        """Return the formula if it keeps the limits and has a gradient for the predictions, else None."""
        settings = self._settings
        if formula is None or formula.size > settings.max_nodes or formula.depth > settings.max_depth:
            return None
        if not moves(formula):
            return None
        return formula if deepest_nesting(formula) <= settings.max_nesting else None


def _inherit_class_weights(formula: Formula, parents: Sequence[Member]) -> str | None:
    """Choose the class weights of a child: those of the first parent whose kind suits it, else learned ones."""
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
