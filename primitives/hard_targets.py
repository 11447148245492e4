"""A formula where the target is one class: what it is at that class and at every other.

With a one-hot target, an elementwise expression over classes has two cases, ``y = 1`` and ``y = 0``. Each is a
formula without ``y``, often a much smaller one: the margin of ``cos(arccos(cosine) + m*y)`` is at the target alone.
"""

import torch

from lossearch.primitives.formula import Call, Formula, Name, Number, call
from lossearch.primitives.operators import OPERATORS
from lossearch.primitives.shapes import Shape

TARGET = Name("y")


class NoHardForm(Exception):
    """The formula has no simpler form for one-hot targets that is the same in every dtype, as log(y) has none."""


def at_other_classes(formula: Formula) -> Formula:
    """The formula where y is 0, simplified. Raises NoHardForm."""
    return _with_target(formula, 0.0)


def at_target_class(formula: Formula) -> Formula:
    """The formula where y is 1, simplified. Raises NoHardForm."""
    return _with_target(formula, 1.0)


def varies_with_target(formula: Formula) -> bool:
    """Whether the formula looks at y elementwise, and not only within an operator over classes."""
    if formula == TARGET:
        return True
    elementwise = isinstance(formula, Call) and OPERATORS[formula.operator].elementwise
    return elementwise and any(varies_with_target(each) for each in formula.arguments)


def additive_margin(formula: Formula) -> tuple[Formula, Formula] | None:
    """x and a margin, the same for every class, where the formula is x + margin*y; None for every other.

    For ``s*(cosine - m*y)`` they are ``s*cosine`` and ``-(s*m)``. Raises NoHardForm.
    """
    parts = _linear_parts(formula)
    return parts if parts is not None and parts[1].shape is not Shape.CLASS else None


def _linear_parts(formula: Formula) -> tuple[Formula, Formula] | None:
    """The formula's parts x and c, free of y, where it is x + c*y by its form."""
    if not varies_with_target(formula):
        return formula, Number(0.0)
    if formula == TARGET:
        return Number(0.0), Number(1.0)
    assert isinstance(formula, Call)
    parts = [_linear_parts(each) for each in formula.arguments]
    if None in parts:
        return None
    constants, factors = zip(*(each for each in parts if each is not None), strict=True)
    if formula.operator in ("add", "sub", "neg"):
        return _simplified(formula.operator, *constants), _simplified(formula.operator, *factors)
    if formula.operator in ("mul", "div") and factors[-1] == Number(0.0):
        return _simplified(formula.operator, *constants), _simplified(formula.operator, factors[0], constants[1])
    if formula.operator == "mul" and factors[0] == Number(0.0):
        return _simplified("mul", *constants), _simplified("mul", constants[0], factors[1])
    return None


def _with_target(formula: Formula, value: float) -> Formula:
    if formula == TARGET:
        return Number(value)
    if not isinstance(formula, Call) or not varies_with_target(formula):
        return formula
    if formula.operator == "pow" and varies_with_target(formula.arguments[1]):
        raise NoHardForm("a varying exponent takes its base to be positive, a number does not")
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
        case ("mul", (x, Call("neg", (y,)))):
            return call("neg", _simplified("mul", x, y))
    guarded = arguments[-1] if operator == "div" else arguments[0] if operator == "pow" else None
    if guarded is not None and guarded.constant is not None and abs(guarded.constant) < 1e-6:
        raise NoHardForm(f"{operator} at zero")
    result = call(operator, *arguments)
    return result if result.constant is None else Number(_same_in_every_precision(operator, arguments))


def _same_in_every_precision(operator: str, arguments: tuple[Formula, ...]) -> float:
    """Value of an operator on numbers. Raises NoHardForm where float32 has another."""
    numbers = [float(each.constant) for each in arguments if each.constant is not None]
    double = OPERATORS[operator].of_numbers(*numbers)
    single = OPERATORS[operator].of_numbers(*numbers, dtype=torch.float32)
    if abs(double - single) > 1e-5 * max(1.0, abs(double)):
        raise NoHardForm(f"{operator}{tuple(numbers)}")
    return double
