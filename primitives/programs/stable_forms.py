"""Stable forms: how a lowering computes logarithms, powers and quotients of a softmax without underflow."""

import operator
from math import log
from typing import TYPE_CHECKING

from lossearch.primitives.language import numerics
from lossearch.primitives.language.formula import Call, Formula, Name, Number, call
from lossearch.primitives.language.operators import OPERATORS
from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.language.terminals import TERMINALS
from lossearch.primitives.programs.program import Value

if TYPE_CHECKING:
    from lossearch.primitives.programs.lowering import Lowering


def stable_form(lowering: "Lowering", formula: Call, at_target: bool) -> Value | None:
    """A stable form of the formula where there is one; None where the plain one is stable."""
    argument = formula.arguments[0]
    if formula.operator == "log":
        return _stable_log(lowering, argument, at_target)
    if formula.operator == "log10":
        natural = _stable_log(lowering, argument, at_target)
        return None if natural is None else lowering.step(operator.truediv, natural, Value(log(10.0), "number"))
    if formula.operator == "sqrt":
        return _power_of_softmax(lowering, argument, Value(0.5, "number"), at_target)
    if formula.operator == "pow":
        return _stable_power(lowering, argument, formula.arguments[1], at_target)
    if formula.operator == "div":
        return _quotient_of_softmax(lowering, argument, formula.arguments[1], at_target)
    if formula.operator == "cos" and isinstance(argument, Call) and argument.operator == "arccos":
        return lowering.value(argument.arguments[0], at_target)
    return None


def _stable_power(lowering: "Lowering", base: Formula, exponent: Formula, at_target: bool) -> Value | None:
    exponent_value = lowering.value(exponent, at_target)
    if not is_tensor(base):
        return _power_of_number(lowering, base, exponent, exponent_value)
    if exponent_value.kind == "number" and float(exponent_value.source).is_integer():
        return None
    return _power_of_softmax(lowering, base, exponent_value, at_target)


def _power_of_number(lowering: "Lowering", base: Formula, exponent: Formula, exponent_value: Value) -> Value | None:
    """b**x = exp(x log b); a power of Python numbers alone is one itself."""
    if not is_tensor(exponent):
        return lowering.step(numerics.power, lowering.scalar(lowering.value(base)), exponent_value)
    if base.constant is not None:
        logarithm = Value(OPERATORS["log"].of_numbers(base.constant), "number")
    else:
        logarithm = lowering.step(numerics.log, lowering.scalar(lowering.value(base)))
    return lowering.step(numerics.exp, lowering.step(operator.mul, exponent_value, logarithm))


def _power_of_softmax(lowering: "Lowering", base: Formula, exponent: Value, at_target: bool) -> Value | None:
    """softmax(x)**e = exp(e log softmax(x)): its slope is finite where the softmax underflows."""
    logits = _softmax_argument(base)
    if logits is None:
        return None
    logarithm = lowering.log_softmax(logits, at_target)
    return lowering.step(numerics.exp, lowering.step(operator.mul, logarithm, exponent))


def _quotient_of_softmax(lowering: "Lowering", numerator: Formula, divisor: Formula, at_target: bool) -> Value | None:
    """x/softmax(z) = x*exp(-log softmax(z))."""
    logits = _softmax_argument(divisor)
    if logits is None:
        return None
    inverse = lowering.step(numerics.exp, lowering.step(operator.neg, lowering.log_softmax(logits, at_target)))
    return lowering.step(operator.mul, lowering.value(numerator, at_target), inverse)


def _stable_log(lowering: "Lowering", argument: Formula, at_target: bool) -> Value | None:
    logits = _softmax_argument(argument)
    if logits is not None:  # log softmax(x)
        return lowering.log_softmax(logits, at_target)
    if not isinstance(argument, Call):
        return None
    first = argument.arguments[0]
    if argument.operator == "sub" and first == Number(1.0):  # log(1 - softmax(x))
        logits = _softmax_argument(argument.arguments[1])
        if logits is not None:
            return lowering.log_one_minus_softmax(logits, at_target)
    if argument.operator == "add":  # log(1 + exp(x))
        for one, other in (argument.arguments, argument.arguments[::-1]):
            if one == Number(1.0) and isinstance(other, Call) and other.operator == "exp":
                return lowering.value(call("softplus", *other.arguments), at_target)
    if argument.operator == "sum_c" and isinstance(first, Call) and first.operator == "exp":
        return lowering.value(call("lse_c", *first.arguments))
    return _stable_log_of_a_class(lowering, argument.operator, first)


def _stable_log_of_a_class(lowering: "Lowering", operator_name: str, argument: Formula) -> Value | None:
    """Logarithm of the softmax at the target, or of its largest."""
    logits = _softmax_argument(argument)
    if logits is None or operator_name not in ("at_target", "max_c"):
        return None
    if operator_name == "max_c":
        return lowering.step(numerics.max_c, lowering.log_softmax(logits))
    if lowering.hard:
        return lowering.log_softmax(logits, at_target=True)
    return lowering.step(numerics.log_at_target, lowering.log_softmax(logits), lowering.input("y"))


def _softmax_argument(formula: Formula) -> Formula | None:
    """The logits whose softmax over all classes the formula is, else None."""
    if formula == Name("p"):
        return Name("z")
    if isinstance(formula, Call) and formula.operator == "softmax_c":
        argument = formula.arguments[0]
        return argument if argument.shape is Shape.CLASS else None
    return None


def is_tensor(formula: Formula) -> bool:
    """Whether the formula's value depends on a sample, and is no hyper-parameter's or number's."""
    if isinstance(formula, Call):
        return not OPERATORS[formula.operator].elementwise or any(map(is_tensor, formula.arguments))
    return formula.constant is None and bool(formula.names & TERMINALS.keys())
