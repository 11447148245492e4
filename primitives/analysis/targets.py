"""Dependence of a formula on the target: its use of y, its forms where y is 0 or 1, and its scores.

With a one-hot target, an elementwise expression over classes has two cases, ``y = 1`` and ``y = 0``. Each is a
formula without ``y``, often a much smaller one: the margin of ``cos(arccos(cosine) + m*y)`` is at the target alone.
"""

import torch

from lossearch.primitives.language.formula import Call, Formula, FormulaError, Name, Number, call
from lossearch.primitives.language.operators import OPERATORS
from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.language.terminals import FEATURES

TARGET = Name("y")

#: Terminals that a network's output moves.
PREDICTIONS = frozenset({"p", *FEATURES})

#: Predictions over embeddings that move with the class weights, and with the class centers.
WEIGHT_FEATURES = frozenset({"z", "p", "cosine", "weight_norm"})
CENTER_FEATURES = frozenset({"dist2"})

#: Operators whose argument is logits.
_OVER_LOGITS = ("ce", "softmax_c", "log_softmax_c")

#: Predictions that differ from class to class for one sample.
_PREDICTIONS_OF_CLASSES = frozenset({"cosine", "z", "p", "dist2"})


class NoHardForm(Exception):
    """The formula has no simpler form for one-hot targets that holds in every dtype; log(y) has none."""


# What a formula depends on, by its structure.


def looks_at_target(formula: Formula) -> bool:
    """Return True if the value depends on y, by name or through an operator that reads y."""
    if isinstance(formula, Call):
        reads = TARGET.name in OPERATORS[formula.operator].reads
        return reads or any(map(looks_at_target, formula.arguments))
    return formula == TARGET


def varies_with_target(formula: Formula) -> bool:
    """Return True if the formula looks at y elementwise, False if only inside an operator over classes."""
    if formula == TARGET:
        return True
    elementwise = isinstance(formula, Call) and OPERATORS[formula.operator].elementwise
    return elementwise and any(map(varies_with_target, formula.arguments))


def linear_in_target(formula: Formula) -> bool:
    """Return True if the value for a mixture of targets is the mixture of the values, as for cross-entropy.

    A weight per class then belongs into the target distribution. The test is structural: it may miss a formula that is
    linear only after simplification.
    """
    if not looks_at_target(formula):
        return False
    if isinstance(formula, Name):
        return formula == TARGET
    assert isinstance(formula, Call)
    first, *others = formula.arguments
    match formula.operator:
        case "ce" | "at_target":
            return not looks_at_target(first)
        case "add" | "sub":
            return linear_in_target(first) and linear_in_target(others[0])
        case "mul":
            pairs = ((first, others[0]), (others[0], first))
            return any(linear_in_target(one) and not looks_at_target(other) for one, other in pairs)
        case "div":
            return linear_in_target(first) and not looks_at_target(others[0])
        case "neg" | "sum_c" | "mean_c" | "detach":
            return linear_in_target(first)
    return False


def moves(formula: Formula, names: frozenset[str] = PREDICTIONS) -> bool:
    """Return True if a gradient can pass from the formula to one of the names."""
    if isinstance(formula, Call):
        return formula.operator != "detach" and any(moves(argument, names) for argument in formula.arguments)
    return bool(formula.names & names)


# The formula where y is 0 or 1.


def at_other_classes(formula: Formula) -> Formula:
    """Return the formula where y is 0, simplified. Raises NoHardForm."""
    return _substitute_target(formula, 0.0)


def at_target_class(formula: Formula) -> Formula:
    """Return the formula where y is 1, simplified. Raises NoHardForm."""
    return _substitute_target(formula, 1.0)


def _substitute_target(formula: Formula, value: float) -> Formula:
    if formula == TARGET:
        return Number(value)
    if not isinstance(formula, Call) or not varies_with_target(formula):
        return formula
    if formula.operator == "pow" and varies_with_target(formula.arguments[1]):
        raise NoHardForm("a varying exponent takes its base to be positive, a number does not")
    return _simplify(formula.operator, *(_substitute_target(argument, value) for argument in formula.arguments))


def additive_margin(formula: Formula) -> tuple[Formula, Formula] | None:
    """Return x and the margin where the formula is x + margin*y and the margin is the same for every class, else None.

    For ``s*(cosine - m*y)`` they are ``s*cosine`` and ``-(s*m)``. Raises NoHardForm.
    """
    parts = _find_linear_parts(formula)
    return parts if parts is not None and parts[1].shape is not Shape.CLASS else None


def _find_linear_parts(formula: Formula) -> tuple[Formula, Formula] | None:
    """Return x and c, free of y, of a formula that has the form x + c*y; None for every other."""
    if not varies_with_target(formula):
        return formula, Number(0.0)
    if formula == TARGET:
        return Number(0.0), Number(1.0)
    assert isinstance(formula, Call)
    parts = [_find_linear_parts(argument) for argument in formula.arguments]
    if None in parts:
        return None
    constants, factors = zip(*(pair for pair in parts if pair is not None), strict=True)
    if formula.operator in ("add", "sub", "neg"):
        return _simplify(formula.operator, *constants), _simplify(formula.operator, *factors)
    if formula.operator in ("mul", "div") and factors[-1] == Number(0.0):
        return _simplify(formula.operator, *constants), _simplify(formula.operator, factors[0], constants[1])
    if formula.operator == "mul" and factors[0] == Number(0.0):
        return _simplify("mul", *constants), _simplify("mul", constants[0], factors[1])
    return None


def _simplify(operator: str, *arguments: Formula) -> Formula:
    """Call the operator, without operations on the numbers 0 and 1."""
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
            return call("neg", _simplify("mul", x, y))
    guarded = arguments[-1] if operator == "div" else arguments[0] if operator == "pow" else None
    if guarded is not None and guarded.constant is not None and abs(guarded.constant) < 1e-6:
        raise NoHardForm(f"{operator} at zero")
    result = call(operator, *arguments)
    return result if result.constant is None else Number(_compute_in_every_precision(operator, arguments))


def _compute_in_every_precision(operator: str, arguments: tuple[Formula, ...]) -> float:
    """Compute the value of an operator on numbers. Raises NoHardForm where float32 gives another."""
    numbers = [float(argument.constant) for argument in arguments if argument.constant is not None]
    double = OPERATORS[operator].of_numbers(*numbers)
    single = OPERATORS[operator].of_numbers(*numbers, dtype=torch.float32)
    if abs(double - single) > 1e-5 * max(1.0, abs(double)):
        raise NoHardForm(f"{operator}{tuple(numbers)}")
    return double


# Scores.


def scores(formula: Formula) -> Formula:
    """Return the formula without a target by which a loss classifies: the class with the largest value is predicted.

    It is the argument of the formula's first cross-entropy or softmax where y is 0: ``s*cosine`` for am_softmax's
    ``ce(s*(cosine - m*y))``. A formula without such an argument scores by the first of cosine, logits and minus the
    squared distance to the class centers that it looks at.
    """
    for node in formula.walk():
        if isinstance(node, Call) and node.operator in _OVER_LOGITS:
            logits = _remove_target(node.arguments[0])
            if logits is not None:
                return logits
    if "cosine" in formula.names:
        return Name("cosine")
    if "dist2" in formula.names and not formula.names & {"z", "p"}:
        return call("neg", Name("dist2"))
    return Name("z")


def _remove_target(logits: Formula) -> Formula | None:
    """Return the logits where y is 0; None if they do not differ between classes or need more than one sample."""
    try:
        result = at_other_classes(logits)
    except (NoHardForm, FormulaError):
        return None
    reads = {name for node in result.walk() if isinstance(node, Call) for name in OPERATORS[node.operator].reads}
    usable = result.shape is Shape.CLASS and not looks_at_target(result) and "counted" not in reads
    return result if usable and result.names & _PREDICTIONS_OF_CLASSES else None
