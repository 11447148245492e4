"""Constants: the numbers of a formula as hyper-parameters, so that a discovered loss can be tuned as a known one is.

Invariant: bound to their defaults they give the formula back, and within their ranges the language allows every value.
"""

import math
from dataclasses import replace

from lossearch.primitives.formula import MAX_EXPONENT, MAX_LITERAL, Call, Formula, FormulaError, Name, Number, call
from lossearch.primitives.loss import Hyperparameter

#: Constants that are tuned of one formula at most, in prefix order: few trials say little about many.
AT_MOST = 6

#: A constant is sought between its value over this and times this.
RANGE = 4.0


def tunable_constants(formula: Formula) -> tuple[Formula, tuple[Hyperparameter, ...]]:
    """The formula with its numbers by the names c1, c2, ..., and what these are; none where there are no numbers.

    Exponents are left as they are where their range would leave the language's bounds.
    """
    for exponents_too in (True, False):
        found: list[Hyperparameter] = []
        named = _named(formula, found, exponents_too, is_exponent=False)
        try:
            for end in ("low", "high"):
                named.bind({each.name: getattr(each, end) for each in found})
        except FormulaError:
            continue
        return named, tuple(found)
    return formula, ()


def _named(formula: Formula, found: list[Hyperparameter], exponents_too: bool, is_exponent: bool) -> Formula:
    if isinstance(formula, Number):
        if len(found) == AT_MOST or (is_exponent and not exponents_too):
            return formula
        found.append(_constant(f"c{len(found) + 1}", formula.value, MAX_EXPONENT if is_exponent else MAX_LITERAL))
        return Name(found[-1].name)
    if not isinstance(formula, Call):
        return formula
    arguments = [
        _named(each, found, exponents_too, is_exponent or (formula.operator == "pow" and place == 1))
        for place, each in enumerate(formula.arguments)
    ]
    return call(formula.operator, *arguments)


def _constant(name: str, value: float, bound: float) -> Hyperparameter:
    if value == 0.0:
        return Hyperparameter(name, 0.0, -1.0, 1.0)
    low, high = sorted((value / RANGE, math.copysign(min(abs(value) * RANGE, max(bound, abs(value))), value)))
    constant = Hyperparameter(name, value, low, high)
    return replace(constant, log=True) if value > 0.0 else constant
