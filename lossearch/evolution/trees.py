"""Trees: formulas as DEAP's strongly typed trees, grown at random and varied.

Invariant: every random choice comes from the generator that was passed in, even those that DEAP makes. Limits on size
are checked elsewhere.
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

#: Terminals and operators that look at the target.
_TARGETS = {TARGET.name, *(operator.name for operator in OPERATORS.values() if TARGET.name in operator.reads)}

#: The terminal of the primitive set that stands for a number; the number is drawn when a tree is made.
_CONSTANT = "constant"


# DEAP's types. A smaller shape is a subtype of a larger one, since it broadcasts to it.
class _Class: ...


class _Sample(_Class): ...


class _Scalar(_Sample): ...


_TYPES = {Shape.CLASS: _Class, Shape.SAMPLE: _Sample, Shape.SCALAR: _Scalar}


class Trees:
    """Grows random trees from the vocabulary of an experiment, and varies trees."""

    def __init__(self, settings: EvolutionSettings) -> None:
        self._depths = settings.initial_depth
        self._vocabulary = _build_primitive_set(settings.operators, settings.terminals)
        self._kinds = {
            "crossover": self._cross_over,
            "subtree": self._mutate_subtree,
            "point": self._mutate_point,
            "constant": self._mutate_constant,
        }

    def grow(self, generator: random.Random) -> Formula | None:
        """Grow a random formula; None if the language forbids it, or if it lacks predictions or the target."""
        with _deap_draws_from(generator):
            tree = gp.PrimitiveTree(gp.genHalfAndHalf(self._vocabulary, *self._depths, _Class))
        names = {node.name.partition("@")[0] for node in tree}
        return None if names.isdisjoint(PREDICTIONS) or names.isdisjoint(_TARGETS) else _read_formula(tree, generator)

    def can_vary(self, kind: str) -> bool:
        """Return True if this kind of variation is one of trees."""
        return kind in self._kinds

    def vary(self, kind: str, parents: Sequence[Formula], generator: random.Random) -> Formula | None:
        """Apply a kind of variation to parents; None if the language forbids the result."""
        return _read_formula(self._kinds[kind]([to_tree(parent) for parent in parents], generator), generator)

    def _cross_over(self, parents: Sequence[gp.PrimitiveTree], generator: random.Random) -> gp.PrimitiveTree:
        """Replace a subtree of the first parent by one of the second parent with a type that fits there."""
        receiver, giver = parents
        slots = _list_slots(receiver)
        place = generator.randrange(len(receiver))
        fitting = [index for index, node in enumerate(giver) if issubclass(node.ret, slots[place])]
        if fitting:
            source = generator.choice(fitting)
            receiver[receiver.searchSubtree(place)] = giver[giver.searchSubtree(source)]
        return receiver

    def _mutate_subtree(self, parents: Sequence[gp.PrimitiveTree], generator: random.Random) -> gp.PrimitiveTree:
        """Replace a subtree by a small random one with a type that fits there."""
        (tree,) = parents
        place = generator.randrange(len(tree))
        type_ = _list_slots(tree)[place]
        height = 2 if self._vocabulary.primitives[type_] else 0
        with _deap_draws_from(generator):
            tree[tree.searchSubtree(place)] = gp.genGrow(self._vocabulary, 0, height, type_)
        return tree

    def _mutate_point(self, parents: Sequence[gp.PrimitiveTree], generator: random.Random) -> gp.PrimitiveTree:
        """Replace one node by another with the same types, if there is one."""
        (tree,) = parents
        place = generator.randrange(len(tree))
        node = tree[place]
        if isinstance(node, gp.Primitive):
            fitting = [primitive for primitive in self._vocabulary.primitives[node.ret] if primitive.args == node.args]
        else:
            fitting = self._vocabulary.terminals[node.ret]
        if fitting:
            tree[place] = generator.choice(fitting)
        return tree

    def _mutate_constant(self, parents: Sequence[gp.PrimitiveTree], generator: random.Random) -> gp.PrimitiveTree:
        """Scale one number by a log-normal factor, now and then with its sign changed."""
        (tree,) = parents
        places = [index for index, node in enumerate(tree) if _is_number(node)]
        if not places:
            return tree
        place = generator.choice(places)
        value = float(tree[place].value) or 0.1
        sign = -1.0 if generator.random() < 0.05 else 1.0
        scaled = rounded(sign * value * math.exp(generator.gauss(0.0, 0.4)))
        tree[place] = _make_number(max(-MAX_LITERAL, min(MAX_LITERAL, scaled)))
        return tree


def to_tree(formula: Formula) -> gp.PrimitiveTree:
    """Convert a formula to DEAP's typed prefix list."""
    return gp.PrimitiveTree([_make_node(part) for part in formula.walk()])


def from_tree(tree: gp.PrimitiveTree) -> Formula:
    """Convert a DEAP tree to a formula. Raises FormulaError if the language forbids it."""
    nodes = iter(tree)

    def build() -> Formula:
        node = next(nodes)
        if isinstance(node, gp.Primitive):
            return call(node.name.partition("@")[0], *[build() for _ in range(node.arity)])
        return Number(node.value) if _is_number(node) else Name(node.value)

    return build()


def _read_formula(tree: gp.PrimitiveTree, generator: random.Random) -> Formula | None:
    """Convert a tree to a formula, with random numbers for its constants; None if the language forbids it."""
    is_placeholder = [isinstance(node, gp.Terminal) and node.value == _CONSTANT for node in tree]
    nodes = zip(tree, is_placeholder, strict=True)
    drawn = [_make_number(_draw_number(generator)) if placeholder else node for node, placeholder in nodes]
    try:
        return from_tree(gp.PrimitiveTree(drawn))
    except FormulaError:
        return None


def _draw_number(generator: random.Random) -> float:
    """Draw 1 or 2 with probability 0.4, else a log-uniform number between 0.05 and 20."""
    if generator.random() < 0.4:
        return float(generator.choice((1, 2)))
    return log_uniform(generator, 0.05, 20.0)


def _make_node(formula: Formula) -> gp.Primitive | gp.Terminal:
    if isinstance(formula, Number):
        return _make_number(formula.value)
    if isinstance(formula, Name):
        return gp.Terminal(formula.name, True, _TYPES[formula.shape])
    assert isinstance(formula, Call)
    return _find_primitive(OPERATORS[formula.operator], formula.shape)


def _find_primitive(operator: Operator, shape: Shape) -> gp.Primitive:
    """Return DEAP's primitive of an operator whose result has this shape."""
    takes = operator.takes if operator.takes is not None else shape
    name = f"{operator.name}@{shape}" if operator.elementwise else operator.name
    return gp.Primitive(name, [_TYPES[takes]] * operator.arity, _TYPES[shape])


def _list_slots(tree: gp.PrimitiveTree) -> list[type]:
    """List the type that each position of a tree may hold, in prefix order."""
    slots: list[type] = []
    open_slots: list[type] = [_Class]
    for node in tree:
        slots.append(open_slots.pop())
        open_slots.extend(reversed(node.args if isinstance(node, gp.Primitive) else []))
    return slots


def _make_number(value: float) -> gp.Terminal:
    return gp.Terminal(value, False, _Scalar)


def _is_number(node: gp.Primitive | gp.Terminal) -> bool:
    return isinstance(node, gp.Terminal) and isinstance(node.value, float)


def _build_primitive_set(operators: Sequence[str], terminals: Sequence[str]) -> gp.PrimitiveSetTyped:
    """Build the set that random trees grow from. Functions of numbers are left out, because they are numbers."""
    primitives = gp.PrimitiveSetTyped("loss", [], _Class)
    for operator in (OPERATORS[name] for name in operators):
        shapes = (Shape.CLASS, Shape.SAMPLE) if operator.elementwise else (operator.result_shape((Shape.SCALAR,)),)
        for shape in shapes:
            primitive = _find_primitive(operator, shape)
            primitives.addPrimitive(operator.tensor, primitive.args, primitive.ret, name=primitive.name)
    for name in terminals:
        primitives.addTerminal(name, _TYPES[TERMINALS[name].shape], name=name)
    primitives.addTerminal(_CONSTANT, _Scalar, name=_CONSTANT)
    return primitives


@contextmanager
def _deap_draws_from(generator: random.Random) -> Iterator[None]:
    """Let DEAP draw from our generator instead of Python's global one, which stays as it was."""
    before = random.getstate()
    random.setstate(generator.getstate())
    try:
        yield
    finally:
        generator.setstate(random.getstate())
        random.setstate(before)
