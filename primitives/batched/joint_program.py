"""Joint program: the calls of many formulas as one graph, so that few torch calls compute all their gradients.

Every formula is lowered to its own program. A number in it becomes data, so that formulas that differ only in numbers
have the same calls. The same function of many formulas is then one call on stacked arguments. Values that no derivative
needs are not computed. Values of one formula never touch those of another, so that non-finite ones do not spread.

Values have the shape [rows, classes, samples], with 1 in the place of classes or samples over which they do not vary.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lossearch.primitives.language import numerics
from lossearch.primitives.language.formula import Formula, FormulaError
from lossearch.primitives.language.terminals import FEATURES, TERMINALS
from lossearch.primitives.programs.derivatives import RULES, clamped_above, clamped_below
from lossearch.primitives.programs.lowering import lower
from lossearch.primitives.programs.program import Value

_OF_FEATURE = {TERMINALS[name].tensor: name for name in FEATURES if TERMINALS[name].tensor is not None}

#: True where values vary: over the classes, over the samples.
Kind = tuple[bool, bool]

_KIND_OF_INPUT: dict[str, Kind] = {
    "z": (True, True),
    "cosine": (True, True),
    "dist2": (True, True),
    "norm": (False, True),
    "weight_norm": (True, True),
    "y": (True, True),
    "index": (False, True),
    "counted": (False, True),
    "prior": (True, False),
    "num_classes": (False, False),
    "progress": (False, False),
}

#: Functions over the classes whose result is the same for all classes.
REDUCTIONS = {
    numerics.sum_c,
    numerics.mean_c,
    numerics.max_c,
    numerics.lse_c,
    numerics.at_target,
    numerics.log_at_target,
    numerics.cross_entropy,
    numerics.take_target,
}
_TO_CLASSES = {numerics.put_at_target, numerics.add_at_target, numerics.over_classes}

#: Functions whose derivatives depend on the shapes of values alone.
_LINEAR = {
    operator.add,
    operator.sub,
    operator.neg,
    numerics.sum_c,
    numerics.mean_c,
    numerics.at_target,
    numerics.take_target,
    numerics.over_classes,
    numerics.put_at_target,
    numerics.add_at_target,
}


@dataclass(frozen=True)
class Argument:
    """An argument of a node: an input, shared or of one formula, the result of a node, or a number."""

    source: str  #: input, node or number
    name: str = ""  #: of an input
    index: int = -1  #: of the node, or of the formula of an input, -1 where it is shared
    number: float = 0.0


@dataclass
class Node:
    """One call for one formula."""

    function: Callable[..., Any]
    arguments: tuple[Argument, ...]
    kind: Kind
    wanted: tuple[bool, ...]  #: True for the arguments that the formula's features move
    has_gradient: bool = False  #: True if features move the result and the result moves a formula's value
    needs_value: bool = False


@lru_cache(maxsize=64)
def make_whole_power(exponent: int) -> Callable[[Tensor], Tensor]:
    """Make ``numerics.power`` with this exponent, a function of the base."""

    def power(base: Tensor) -> Tensor:
        return numerics.power(base, float(exponent))

    return power


class Builder:
    """Collects the nodes of formulas, each call once. With ``hard``, targets are class indices."""

    def __init__(self, hard: bool = True) -> None:
        self._hard = hard
        self.nodes: list[Node] = []
        self._results: dict[tuple[Callable[..., Any], tuple[Argument, ...]], Argument] = {}

    def add(self, formula: Formula, index: int) -> Argument:
        """Add the nodes of the ``index``-th formula. Return the node of its value."""
        program = lower(formula, hard=self._hard)
        results: list[Argument] = []
        for step in program.steps:
            if step.function is numerics.squared_distance_at_target:
                feature_value, index_input = Argument("input", "dist2", index), Argument("input", "index")
                results.append(self._call(numerics.take_target, (feature_value, index_input)))
                continue
            feature = _OF_FEATURE.get(step.function)
            if feature is not None and feature != "z":
                results.append(Argument("input", feature, index))
                continue
            arguments = tuple(self._argument(value, results, index) for value in step.arguments)
            results.append(self._call(step.function, arguments))
        result = self._argument(program.result, results, index)
        return result if result.source == "node" else self.node(operator.add, result, Argument("number", number=0.0))

    def _argument(self, value: Value, results: Sequence[Argument], index: int) -> Argument:
        if value.kind == "number":
            return Argument("number", number=float(value.source))
        if value.kind == "input":
            name = str(value.source)
            if name not in _KIND_OF_INPUT:
                raise FormulaError(f"Expected a formula without free names, got one with {name}: bind it to a number.")
            return Argument("input", name, index if name in FEATURES else -1)
        return results[int(value.source)]

    def _call(self, function: Callable[..., Any], arguments: tuple[Argument, ...]) -> Argument:
        """Add a call, expressed by the functions that a joint program knows. Return its result."""
        if all(argument.source == "number" for argument in arguments):
            numbers = [argument.number for argument in arguments]
            return Argument("number", number=_compute_number(function, numbers))
        first = arguments[0]
        if function is numerics.minimum:
            return self.node(clamped_above if arguments[1].source == "number" else torch.minimum, *arguments)
        if function is numerics.maximum:
            return self.node(clamped_below if arguments[1].source == "number" else torch.maximum, *arguments)
        if function is numerics.power:
            exponent = arguments[1]
            if exponent.source == "number" and exponent.number.is_integer():
                return self.node(make_whole_power(int(exponent.number)), first)
            product = self.node(operator.mul, exponent, self.node(numerics.log, first))
            return self.node(numerics.exp, product)
        if function is numerics.batch_mean:
            return self.node(function, first)
        return self.node(function, *arguments)

    def node(self, function: Callable[..., Any], *arguments: Argument) -> Argument:
        """Return the result of a call. Add the call unless it is there already."""
        key = function, arguments
        if key not in self._results:
            wanted = tuple(map(self._is_moved, arguments))
            rules = RULES.get(function)
            if rules is not None:
                wanted = tuple(moved and rule is not None for moved, rule in zip(wanted, rules, strict=True))
            self.nodes.append(Node(function, arguments, self._kind(function, arguments), wanted))
            self._results[key] = Argument("node", index=len(self.nodes) - 1)
        return self._results[key]

    def _is_moved(self, argument: Argument) -> bool:
        """Return True if a feature moves the argument."""
        if argument.source == "node":
            return any(self.nodes[argument.index].wanted)
        return argument.source == "input" and argument.name in FEATURES

    def kind_of(self, argument: Argument) -> Kind:
        """Return True where the argument varies: over the classes, over the samples."""
        if argument.source == "node":
            return self.nodes[argument.index].kind
        return (False, False) if argument.source == "number" else _KIND_OF_INPUT[argument.name]

    def _kind(self, function: Callable[..., Any], arguments: Iterable[Argument]) -> Kind:
        kinds = [self.kind_of(argument) for argument in arguments]
        over_samples = any(samples for _, samples in kinds) or function is numerics.batch_mean
        if function in REDUCTIONS or function is numerics.batch_mean:
            return False, over_samples
        return function in _TO_CLASSES or any(classes for classes, _ in kinds), over_samples


def _compute_number(function: Callable[..., Any], numbers: Sequence[float]) -> float:
    """Return the value of a function on numbers."""
    if function in (operator.add, operator.sub, operator.mul, operator.truediv, operator.neg):
        return float(function(*numbers))
    if function is numerics.scalar:
        return numbers[0]
    first, *others = numbers
    return float(function(torch.tensor(first, dtype=torch.float64), *others))


def mark_needed(nodes: Sequence[Node], results: Iterable[Argument]) -> None:
    """Mark the nodes whose gradient is needed, and those whose value a derivative needs."""
    for result in results:
        nodes[result.index].has_gradient = any(nodes[result.index].wanted)
    for node in reversed(nodes):
        if not node.has_gradient:
            continue
        linear = node.function in _LINEAR
        node.needs_value = node.needs_value or not (linear or node.function is operator.mul)
        for place, (argument, wanted) in enumerate(zip(node.arguments, node.wanted, strict=True)):
            if argument.source != "node":
                continue
            inner = nodes[argument.index]
            inner.has_gradient = inner.has_gradient or wanted
            if node.function is operator.mul:
                inner.needs_value = inner.needs_value or node.wanted[1 - place]
            else:
                inner.needs_value = inner.needs_value or not linear
    for node in reversed(nodes):  # a value needs the values of its arguments
        if node.needs_value:
            for argument in node.arguments:
                if argument.source == "node":
                    nodes[argument.index].needs_value = True


def call_key(node: Node, builder: Builder) -> Any:
    """Return the key of a node: one call can compute all nodes of one key."""
    arguments = tuple(
        argument.name
        if argument.source == "input" and argument.index < 0
        else (argument.source == "number", builder.kind_of(argument))
        for argument in node.arguments
    )
    return node.function, arguments, node.wanted, node.has_gradient, node.needs_value
