"""Evolution: strongly typed genetic programming over the language of losses, with DEAP.

Invariant: every random choice comes from the generator that was passed in, also those that DEAP makes, and
every formula that is born keeps the size limits, whether it is a seed, a random tree or a child.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deap import base, gp, tools

from lossearch.experiment import VARIATIONS, EvolutionSettings
from lossearch.variation import deepest_nesting, log_uniform, looks_at_target, rounded, varied
from primitives.class_weights import suits
from primitives.errors import UserError
from primitives.formula import MAX_LITERAL, Call, Formula, FormulaError, Name, Number, call
from primitives.operators import OPERATORS, Operator
from primitives.shapes import Shape
from primitives.terminals import TERMINALS

_CONSTANT = "constant"  # stands in the primitive set for a number that is drawn when a tree is made
_ATTEMPTS = 50  # to make one child that keeps the limits


# DEAP's types. A smaller shape is a kind of the larger, since it broadcasts to it.
class _Class: ...


class _Sample(_Class): ...


class _Scalar(_Sample): ...


_TYPES = {Shape.CLASS: _Class, Shape.SAMPLE: _Sample, Shape.SCALAR: _Scalar}


class Fitness(base.Fitness):
    """Fitness to be large, complexity to be small."""

    weights = (1.0, -1.0)


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


class Evolution:
    """A population of losses: ``ask`` it for births, ``tell`` it what they were worth.

    The first births are the seeds, then random trees until the first population is complete; after that
    each is a child of members, or now and then a new random tree. Selection is NSGA-II's (Deb et al., 2002)
    on fitness against complexity.
    """

    def __init__(self, settings: EvolutionSettings, seeds: Sequence[Birth], generator: random.Random) -> None:
        self._settings = settings
        self.generator = generator
        self._unborn = list(seeds)
        self._grown = _primitive_set(settings.operators, settings.terminals)
        self.population: list[Member] = []
        self._on_trees: dict[str, Callable[..., gp.PrimitiveTree]] = {
            "crossover": self._crossover,
            "subtree": self._subtree_mutation,
            "point": self._point_mutation,
            "constant": self._constant_mutation,
        }
        self._weights = {name: getattr(settings, key) for name, key in VARIATIONS.items() if getattr(settings, key)}

    @property
    def has_seeds_left(self) -> bool:
        """Whether a seed was not asked for yet."""
        return bool(self._unborn)

    def bear(self, seeds: Sequence[Birth]) -> None:
        """Have these seeds born next, and no other ones."""
        self._unborn = list(seeds)

    def ask(self, fresh: bool = False) -> Birth:
        """The next formula to consider; ``fresh`` is one without parents. It may equal one that was born before."""
        if self._unborn:
            return self._unborn.pop(0)
        if fresh or not self.population or self.generator.random() < self._settings.random_trees:
            return self._random_birth()
        return self._child()

    def tell(self, members: Sequence[Member]) -> None:
        """Take in a generation's evaluated losses and keep the best of old and new."""
        everyone = [*self.population, *members]
        size = min(self._settings.population, len(everyone))
        self.population = tools.selNSGA2(everyone, size, nd="log")  # the standard sort takes 30 times as long

    def state(self) -> dict[str, Any]:
        """What continues this evolution exactly, as plain JSON data; ask only at the end of a generation."""
        version, numbers, normal = self.generator.getstate()
        return {
            "generator": [version, list(numbers), normal],
            "unborn": len(self._unborn),
            "population": [
                {
                    "loss_id": member.loss_id,
                    "formula": str(member.formula),
                    "class_weights": member.class_weights,
                    "fitness": member.fitness.values[0],
                    "crowding": member.fitness.crowding_dist if math.isfinite(member.fitness.crowding_dist) else None,
                }
                for member in self.population
            ],
        }

    def restore(self, state: dict[str, Any], read: Callable[[str], Formula]) -> None:
        """Continue from a saved state; ``read`` parses a formula."""
        version, numbers, normal = state["generator"]
        self.generator.setstate((version, tuple(numbers), normal))
        self._unborn = self._unborn[len(self._unborn) - state["unborn"] :]
        self.population = [
            Member(each["loss_id"], read(each["formula"]), each["fitness"], each.get("class_weights"))
            for each in state["population"]
        ]
        for member, each in zip(self.population, state["population"], strict=True):
            member.fitness.crowding_dist = math.inf if each["crowding"] is None else each["crowding"]

    # --- birth --------------------------------------------------------------------------------------

    def _random_formula(self) -> Formula:
        low, high = self._settings.initial_depth
        for _ in range(10 * _ATTEMPTS):
            with _deap_draws_from(self.generator):
                tree = gp.PrimitiveTree(gp.genHalfAndHalf(self._grown, low, high, _Class))
            formula = self._within_limits(tree)
            if formula is not None and looks_at_target(formula):
                return formula
        raise UserError(
            "evolution: No random tree kept the limits: raise max_nodes or max_depth, or allow operators that look "
            "at the target"
        )

    def _child(self) -> Birth:
        names, weights = list(self._weights), list(self._weights.values())
        for _ in range(_ATTEMPTS):
            (chosen,) = self.generator.choices(names, weights)
            parents = [self._tournament() for _ in range(2 if chosen == "crossover" else 1)]
            formula = self._varied(chosen, [parent.formula for parent in parents])
            if formula is not None and formula not in [parent.formula for parent in parents]:
                ids = tuple(parent.loss_id for parent in parents)
                return Birth(formula, chosen, ids, class_weights=_inherited(formula, parents))
        return self._random_birth()

    def _varied(self, how: str, parents: Sequence[Formula]) -> Formula | None:
        """What a kind of variation makes of the parents; None where it makes nothing that keeps the limits."""
        if how in self._on_trees:
            return self._within_limits(self._on_trees[how](*map(to_tree, parents)))
        return self._kept(varied(how, parents[0], self._settings, self.generator))

    def _random_birth(self) -> Birth:
        formula = self._random_formula()
        return Birth(formula, "random", class_weights=_inherited(formula, []))

    def _tournament(self) -> Member:
        """The better of two members: on the better front, else in the emptier part of it."""
        one, other = self.generator.choice(self.population), self.generator.choice(self.population)
        if other.fitness.dominates(one.fitness):
            return other
        if one.fitness.dominates(other.fitness):
            return one
        return one if one.fitness.crowding_dist >= other.fitness.crowding_dist else other

    def _within_limits(self, tree: gp.PrimitiveTree) -> Formula | None:
        """The tree's formula, with numbers drawn for its constants; None where it is too large."""
        try:
            return self._kept(from_tree(self._with_numbers(tree)))
        except FormulaError:
            return None

    def _kept(self, formula: Formula | None) -> Formula | None:
        """The formula, where there is one that keeps the limits."""
        settings = self._settings
        if formula is None or formula.size > settings.max_nodes or formula.depth > settings.max_depth:
            return None
        return formula if deepest_nesting(formula) <= settings.max_nesting else None

    def _with_numbers(self, tree: gp.PrimitiveTree) -> gp.PrimitiveTree:
        is_placeholder = [isinstance(node, gp.Terminal) and node.value == _CONSTANT for node in tree]
        return gp.PrimitiveTree(
            [
                _number(self._draw_number()) if placeholder else node
                for node, placeholder in zip(tree, is_placeholder, strict=True)
            ]
        )

    def _draw_number(self) -> float:
        """1 and 2 often, else log-uniform between 0.05 and 20."""
        if self.generator.random() < 0.4:
            return float(self.generator.choice((1, 2)))
        return log_uniform(self.generator, 0.05, 20.0)

    # --- variation ----------------------------------------------------------------------------------

    def _crossover(self, receiver: gp.PrimitiveTree, giver: gp.PrimitiveTree) -> gp.PrimitiveTree:
        """A subtree of the receiver replaced by one of the giver's of a type that fits its place."""
        slots = _slots(receiver)
        place = self.generator.randrange(len(receiver))
        fitting = [index for index, node in enumerate(giver) if issubclass(node.ret, slots[place])]
        if fitting:
            source = self.generator.choice(fitting)
            receiver[receiver.searchSubtree(place)] = giver[giver.searchSubtree(source)]
        return receiver

    def _subtree_mutation(self, tree: gp.PrimitiveTree) -> gp.PrimitiveTree:
        """A subtree replaced by a small random one of a type that fits its place."""
        place = self.generator.randrange(len(tree))
        type_ = _slots(tree)[place]
        height = 2 if self._grown.primitives[type_] else 0
        with _deap_draws_from(self.generator):
            tree[tree.searchSubtree(place)] = gp.genGrow(self._grown, 0, height, type_)
        return tree

    def _point_mutation(self, tree: gp.PrimitiveTree) -> gp.PrimitiveTree:
        """One node replaced by another with the same types, if there is one."""
        place = self.generator.randrange(len(tree))
        node = tree[place]
        if isinstance(node, gp.Primitive):
            fitting = [each for each in self._grown.primitives[node.ret] if each.args == node.args]
        else:
            fitting = self._grown.terminals[node.ret]
        if fitting:
            tree[place] = self.generator.choice(fitting)
        return tree

    def _constant_mutation(self, tree: gp.PrimitiveTree) -> gp.PrimitiveTree:
        """One number scaled by a log-normal factor, now and then with its sign turned."""
        places = [index for index, node in enumerate(tree) if _is_number(node)]
        if not places:
            return tree
        place = self.generator.choice(places)
        value = float(tree[place].value) or 0.1
        sign = -1.0 if self.generator.random() < 0.05 else 1.0
        scaled = rounded(sign * value * math.exp(self.generator.gauss(0.0, 0.4)))
        tree[place] = _number(max(-MAX_LITERAL, min(MAX_LITERAL, scaled)))
        return tree


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


# --- formulas and DEAP's trees ----------------------------------------------------------------------


def to_tree(formula: Formula) -> gp.PrimitiveTree:
    """The formula as DEAP's typed prefix list."""
    return gp.PrimitiveTree([_node(each) for each in formula.walk()])


def from_tree(tree: gp.PrimitiveTree) -> Formula:
    """The formula of a DEAP tree; FormulaError where the language forbids it."""
    nodes = iter(tree)

    def build() -> Formula:
        node = next(nodes)
        if isinstance(node, gp.Primitive):
            return call(node.name.partition("@")[0], *[build() for _ in range(node.arity)])
        return Number(node.value) if _is_number(node) else Name(node.value)

    return build()


def _node(formula: Formula) -> gp.Primitive | gp.Terminal:
    if isinstance(formula, Number):
        return _number(formula.value)
    if isinstance(formula, Name):
        return gp.Terminal(formula.name, True, _TYPES[formula.shape])
    assert isinstance(formula, Call)
    operator = OPERATORS[formula.operator]
    return _primitive(operator, formula.shape)


def _primitive(operator: Operator, shape: Shape) -> gp.Primitive:
    """DEAP's primitive of an operator where its result has this shape."""
    takes = operator.takes if operator.takes is not None else shape
    name = f"{operator.name}@{shape}" if operator.elementwise else operator.name
    return gp.Primitive(name, [_TYPES[takes]] * operator.arity, _TYPES[shape])


def _slots(tree: gp.PrimitiveTree) -> list[type]:
    """The type that each place of the tree may hold, in prefix order."""
    slots: list[type] = []
    open_slots: list[type] = [_Class]
    for node in tree:
        slots.append(open_slots.pop())
        open_slots.extend(reversed(node.args if isinstance(node, gp.Primitive) else []))
    return slots


def _number(value: float) -> gp.Terminal:
    return gp.Terminal(value, False, _Scalar)


def _is_number(node: gp.Primitive | gp.Terminal) -> bool:
    return isinstance(node, gp.Terminal) and isinstance(node.value, float)


def _primitive_set(operators: Sequence[str], terminals: Sequence[str]) -> gp.PrimitiveSetTyped:
    """What random trees grow from. Functions of numbers alone are left out: they are numbers."""
    grown = gp.PrimitiveSetTyped("loss", [], _Class)
    for operator in (OPERATORS[name] for name in operators):
        shapes = (Shape.CLASS, Shape.SAMPLE) if operator.elementwise else (operator.result_shape((Shape.SCALAR,)),)
        for shape in shapes:
            primitive = _primitive(operator, shape)
            grown.addPrimitive(operator.tensor, primitive.args, primitive.ret, name=primitive.name)
    for name in terminals:
        grown.addTerminal(name, _TYPES[TERMINALS[name].shape], name=name)
    grown.addTerminal(_CONSTANT, _Scalar, name=_CONSTANT)
    return grown


@contextmanager
def _deap_draws_from(generator: random.Random) -> Iterator[None]:
    """Let DEAP, which draws from Python's global generator, draw from ours and leave the global one as it was."""
    before = random.getstate()
    random.setstate(generator.getstate())
    try:
        yield
    finally:
        generator.setstate(random.getstate())
        random.setstate(before)
