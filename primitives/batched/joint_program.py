"""Joint program: the gradients of many formulas with respect to what they look at, in few torch calls.

Every formula is lowered to its own program; a number in it becomes data, so that formulas that differ in numbers
alone are the same calls. Then the same function of many formulas, as soon as its arguments are there, is one call on
stacked arguments. Values that no derivative needs are not computed. One formula's values never touch another's: what
is not finite stays where it is.

Values have the shape [rows, classes, samples], with 1 in the place of classes or samples where they do not vary.
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

#: Whether values vary over the classes, and over the samples.
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

#: Functions over the classes whose result does not vary over them.
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

#: Functions whose derivatives look at no value, but at shapes.
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
    """Where an argument of a node is: an input, shared or of one formula, the result of a node, or a number."""

    source: str  #: input, node or number
    name: str = ""  #: of an input
    index: int = -1  #: formula of an input, or -1 where it is shared; node
    number: float = 0.0


@dataclass
class Node:
    """One call for one formula."""

    function: Callable[..., Any]
    arguments: tuple[Argument, ...]
    kind: Kind
    wanted: tuple[bool, ...]  #: which arguments the formula's features move
    has_gradient: bool = False  #: whether the result's value moves a formula's value, and is moved by its features
    needs_value: bool = False


@lru_cache(maxsize=64)
def whole_power(exponent: int) -> Callable[[Tensor], Tensor]:
    """``numerics.power`` to a whole number, as a function of the base."""

    def power(base: Tensor) -> Tensor:
        return numerics.power(base, float(exponent))

    return power


class Builder:
    """Collects the nodes of formulas, each call once; ``hard`` ones take targets as class indices."""

    def __init__(self, hard: bool = True) -> None:
        self._hard = hard
        self.nodes: list[Node] = []
        self._found: dict[tuple[Callable[..., Any], tuple[Argument, ...]], Argument] = {}

    def add(self, formula: Formula, index: int) -> Argument:
        """The node of the value of a formula, which is the ``index``-th one."""
        program = lower(formula, hard=self._hard)
        results: list[Argument] = []
        for step in program.steps:
            feature = _OF_FEATURE.get(step.function)
            if feature is not None and feature != "z":
                results.append(Argument("input", feature, index))
                continue
            arguments = tuple(self._argument(each, results, index) for each in step.arguments)
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
        """The result of a call, in the functions that a joint program knows."""
        if all(each.source == "number" for each in arguments):
            return Argument("number", number=_of_numbers(function, [each.number for each in arguments]))
        first = arguments[0]
        if function is numerics.minimum:
            return self.node(clamped_above if arguments[1].source == "number" else torch.minimum, *arguments)
        if function is numerics.maximum:
            return self.node(clamped_below if arguments[1].source == "number" else torch.maximum, *arguments)
        if function is numerics.power:
            exponent = arguments[1]
            if exponent.source == "number" and exponent.number.is_integer():
                return self.node(whole_power(int(exponent.number)), first)
            product = self.node(operator.mul, exponent, self.node(numerics.log, first))
            return self.node(numerics.exp, product)
        if function is numerics.batch_mean:
            return self.node(function, first)
        return self.node(function, *arguments)

    def node(self, function: Callable[..., Any], *arguments: Argument) -> Argument:
        """The result of a call, which is added unless it is there."""
        key = function, arguments
        if key not in self._found:
            wanted = tuple(self._moved(each) for each in arguments)
            rules = RULES.get(function)
            if rules is not None:
                wanted = tuple(moved and rule is not None for moved, rule in zip(wanted, rules, strict=True))
            self.nodes.append(Node(function, arguments, self._kind(function, arguments), wanted))
            self._found[key] = Argument("node", index=len(self.nodes) - 1)
        return self._found[key]

    def _moved(self, argument: Argument) -> bool:
        """Whether a feature moves the argument."""
        if argument.source == "node":
            return any(self.nodes[argument.index].wanted)
        return argument.source == "input" and argument.name in FEATURES

    def kind_of(self, argument: Argument) -> Kind:
        """Over what the argument varies."""
        if argument.source == "node":
            return self.nodes[argument.index].kind
        return (False, False) if argument.source == "number" else _KIND_OF_INPUT[argument.name]

    def _kind(self, function: Callable[..., Any], arguments: Iterable[Argument]) -> Kind:
        kinds = [self.kind_of(each) for each in arguments]
        over_samples = any(samples for _, samples in kinds) or function is numerics.batch_mean
        if function in REDUCTIONS or function is numerics.batch_mean:
            return False, over_samples
        return function in _TO_CLASSES or any(classes for classes, _ in kinds), over_samples


def _of_numbers(function: Callable[..., Any], numbers: Sequence[float]) -> float:
    """A function's value on numbers alone."""
    if function in (operator.add, operator.sub, operator.mul, operator.truediv, operator.neg):
        return float(function(*numbers))
    if function is numerics.scalar:
        return numbers[0]
    first, *others = numbers
    return float(function(torch.tensor(first, dtype=torch.float64), *others))


def mark(nodes: Sequence[Node], results: Iterable[Argument]) -> None:
    """Mark the nodes whose gradient is looked for, and those whose value a derivative needs."""
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
    """Nodes of one key can be computed by one call."""
    arguments = tuple(
        each.name if each.source == "input" and each.index < 0 else (each.source == "number", builder.kind_of(each))
        for each in node.arguments
    )
    return node.function, arguments, node.wanted, node.has_gradient, node.needs_value
