"""Trees: formulas as DEAP's strongly typed trees, grown at random and varied.

Invariant: every random choice comes from the generator that was passed in, also those that DEAP makes. Limits on size
are not this file's.
"""

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from deap import gp

from lossearch.evolution.variation import log_uniform, rounded
from lossearch.primitives.analysis.targets import PREDICTIONS, TARGET
from lossearch.primitives.language.formula import MAX_LITERAL, Call, Formula, FormulaError, Name, Number, call
from lossearch.primitives.language.operators import OPERATORS, Operator
from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.language.terminals import TERMINALS
from lossearch.runs.experiment import EvolutionSettings

#: What looks at the target.
_TARGETS = {TARGET.name, *(each.name for each in OPERATORS.values() if TARGET.name in each.reads)}

_CONSTANT = "constant"  # stands in the primitive set for a number that is drawn when a tree is made


# DEAP's types. A smaller shape is a kind of the larger, since it broadcasts to it.
class _Class: ...


class _Sample(_Class): ...


class _Scalar(_Sample): ...


_TYPES = {Shape.CLASS: _Class, Shape.SAMPLE: _Sample, Shape.SCALAR: _Scalar}


class Trees:
    """Random trees over what an experiment allows, and what becomes of trees when parts of them change."""

    def __init__(self, settings: EvolutionSettings) -> None:
        self._depths = settings.initial_depth
        self._vocabulary = _primitive_set(settings.operators, settings.terminals)
        self._kinds = {
            "crossover": self._crossover,
            "subtree": self._subtree_mutation,
            "point": self._point_mutation,
            "constant": self._constant_mutation,
        }

    def grow(self, generator: random.Random) -> Formula | None:
        """A random formula; None where the language forbids what was grown, or it misses predictions or the target."""
        with _deap_draws_from(generator):
            tree = gp.PrimitiveTree(gp.genHalfAndHalf(self._vocabulary, *self._depths, _Class))
        names = {node.name.partition("@")[0] for node in tree}
        return None if names.isdisjoint(PREDICTIONS) or names.isdisjoint(_TARGETS) else _formula(tree, generator)

    def knows(self, how: str) -> bool:
        """Whether this kind of variation is one of trees."""
        return how in self._kinds

    def varied(self, how: str, parents: Sequence[Formula], generator: random.Random) -> Formula | None:
        """What a kind of variation makes of its parents; None where the language forbids it."""
        return _formula(self._kinds[how]([to_tree(each) for each in parents], generator), generator)

    def _crossover(self, parents: Sequence[gp.PrimitiveTree], generator: random.Random) -> gp.PrimitiveTree:
        """A subtree of the first parent replaced by one of the second's of a type that fits its place."""
        receiver, giver = parents
        slots = _slots(receiver)
        place = generator.randrange(len(receiver))
        fitting = [index for index, node in enumerate(giver) if issubclass(node.ret, slots[place])]
        if fitting:
            source = generator.choice(fitting)
            receiver[receiver.searchSubtree(place)] = giver[giver.searchSubtree(source)]
        return receiver

    def _subtree_mutation(self, parents: Sequence[gp.PrimitiveTree], generator: random.Random) -> gp.PrimitiveTree:
        """A subtree replaced by a small random one of a type that fits its place."""
        (tree,) = parents
        place = generator.randrange(len(tree))
        type_ = _slots(tree)[place]
        height = 2 if self._vocabulary.primitives[type_] else 0
        with _deap_draws_from(generator):
            tree[tree.searchSubtree(place)] = gp.genGrow(self._vocabulary, 0, height, type_)
        return tree

    def _point_mutation(self, parents: Sequence[gp.PrimitiveTree], generator: random.Random) -> gp.PrimitiveTree:
        """One node replaced by another with the same types, if there is one."""
        (tree,) = parents
        place = generator.randrange(len(tree))
        node = tree[place]
        if isinstance(node, gp.Primitive):
            fitting = [each for each in self._vocabulary.primitives[node.ret] if each.args == node.args]
        else:
            fitting = self._vocabulary.terminals[node.ret]
        if fitting:
            tree[place] = generator.choice(fitting)
        return tree

    def _constant_mutation(self, parents: Sequence[gp.PrimitiveTree], generator: random.Random) -> gp.PrimitiveTree:
        """One number scaled by a log-normal factor, now and then with its sign turned."""
        (tree,) = parents
        places = [index for index, node in enumerate(tree) if _is_number(node)]
        if not places:
            return tree
        place = generator.choice(places)
        value = float(tree[place].value) or 0.1
        sign = -1.0 if generator.random() < 0.05 else 1.0
        scaled = rounded(sign * value * math.exp(generator.gauss(0.0, 0.4)))
        tree[place] = _number(max(-MAX_LITERAL, min(MAX_LITERAL, scaled)))
        return tree


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


def _formula(tree: gp.PrimitiveTree, generator: random.Random) -> Formula | None:
    """The tree's formula, with numbers drawn for its constants; None where the language forbids it."""
    is_placeholder = [isinstance(node, gp.Terminal) and node.value == _CONSTANT for node in tree]
    nodes = zip(tree, is_placeholder, strict=True)
    drawn = [_number(_draw_number(generator)) if placeholder else node for node, placeholder in nodes]
    try:
        return from_tree(gp.PrimitiveTree(drawn))
    except FormulaError:
        return None


def _draw_number(generator: random.Random) -> float:
    """1 and 2 often, else log-uniform between 0.05 and 20."""
    if generator.random() < 0.4:
        return float(generator.choice((1, 2)))
    return log_uniform(generator, 0.05, 20.0)


def _node(formula: Formula) -> gp.Primitive | gp.Terminal:
    if isinstance(formula, Number):
        return _number(formula.value)
    if isinstance(formula, Name):
        return gp.Terminal(formula.name, True, _TYPES[formula.shape])
    assert isinstance(formula, Call)
    return _primitive(OPERATORS[formula.operator], formula.shape)


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
