"""A formula where the target is one class: what it is at that class and at every other.

With a one-hot target, an elementwise expression over classes has two cases, ``y = 1`` and ``y = 0``. Each is a
formula without ``y``, often a much smaller one: the margin of ``cos(arccos(cosine) + m*y)`` is at the target alone.
"""

import torch

from primitives.formula import Call, Formula, Name, Number, call
from primitives.operators import OPERATORS

TARGET = Name("y")


class DependsOnPrecision(Exception):
    """A number of the formula depends on the dtype, as log(0) does: it cannot be worked out beforehand."""


def at_other_classes(formula: Formula) -> Formula:
    """The formula where y is 0, simplified. Raises DependsOnPrecision."""
    return _with_target(formula, 0.0)


def at_target_class(formula: Formula) -> Formula:
    """The formula where y is 1, simplified. Raises DependsOnPrecision."""
    return _with_target(formula, 1.0)


def varies_with_target(formula: Formula) -> bool:
    """Whether the formula looks at y elementwise, and not only within an operator over classes."""
    if formula == TARGET:
        return True
    elementwise = isinstance(formula, Call) and OPERATORS[formula.operator].elementwise
    return elementwise and any(varies_with_target(each) for each in formula.arguments)


def _with_target(formula: Formula, value: float) -> Formula:
    if formula == TARGET:
        return Number(value)
    if not isinstance(formula, Call) or not varies_with_target(formula):
        return formula
    return _simplified(formula.operator, *(_with_target(each, value) for each in formula.arguments))


def _simplified(operator: str, *arguments: Formula) -> Formula:
    """The operator's call, or what it is for the numbers 0 and 1."""
    zero, one = Number(0.0), Number(1.0)
    match operator, arguments:
        case ("add", (x, y)) if y == zero:
            return x
        case ("add", (x, y)) if x == zero:
            return y
        case ("sub", (x, y)) if y == zero:
            return x
        case ("sub", (x, y)) if x == zero:
            return call("neg", y)
        case ("mul", (x, y)) | ("div", (x, y)) if x == zero or (operator == "mul" and y == zero):
            return zero
        case ("mul", (x, y)) | ("div", (x, y)) | ("pow", (x, y)) if y == one:
            return x
        case ("mul", (x, y)) if x == one:
            return y
    result = call(operator, *arguments)
    return result if result.constant is None else Number(_same_in_every_precision(operator, arguments))


def _same_in_every_precision(operator: str, arguments: tuple[Formula, ...]) -> float:
    """Value of an operator on numbers. Raises DependsOnPrecision where float32 has another."""
    numbers = [float(each.constant) for each in arguments if each.constant is not None]
    double = OPERATORS[operator].of_numbers(*numbers)
    single = OPERATORS[operator].of_numbers(*numbers, dtype=torch.float32)
    if abs(double - single) > 1e-5 * max(1.0, abs(double)):
        raise DependsOnPrecision(f"{operator}{tuple(numbers)}")
    return double
