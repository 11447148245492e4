"""Stable forms: logarithms of a softmax or a sigmoid, and roots of a softmax, rewritten so that they do not underflow.

A rewrite looks at the top of a formula and leaves the parts below it as they are; lowering rewrites them in turn.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lossearch.primitives.language import numerics
from lossearch.primitives.language.formula import Call, Formula, Name, Number, call
from lossearch.primitives.language.shapes import Shape

_ONE = Number(1.0)


@dataclass(frozen=True)
class FusedCall:
    """A torch function of one formula and further inputs, for which the language has no operator."""

    function: Callable[..., Any]
    argument: Formula
    reads: tuple[str, ...] = ()


def find_stable_form(formula: Call, *, hard: bool) -> Formula | FusedCall | None:
    """Rewrite a formula so that it does not underflow. Return None where there is nothing to rewrite.

    ``hard``: targets are class indices.
    """
    match formula:
        case Call("log", (argument,)):
            return _find_stable_log(argument, hard)
        case Call("log10", (argument,)) if _find_stable_log(argument, hard) is not None:
            return call("div", call("log", argument), Number(math.log(10.0)))
        case Call("sqrt", (argument,)) if find_log_of_softmax(argument) is not None:
            return call("pow", argument, Number(0.5))
        case Call("cos", (Call("arccos", (cosine,)),)):
            return cosine
    return None


def find_log_of_softmax(formula: Formula) -> Formula | None:
    """Return log_softmax_c(x) where the formula is the softmax of x over the classes; None for every other formula."""
    logits = _find_logits_of_softmax(formula)
    return None if logits is None else call("log_softmax_c", logits)


def _find_logits_of_softmax(formula: Formula) -> Formula | None:
    match formula:
        case Name("p"):
            return Name("z")
        case Call("softmax_c", (logits,)) if logits.shape is Shape.CLASS:
            return logits
    return None


def _find_stable_log(argument: Formula, hard: bool) -> Formula | FusedCall | None:
    """Return the stable form of the logarithm of ``argument``, or None."""
    match argument:
        case Call("sub", (one, probability)) if one == _ONE:
            logits = _find_logits_of_softmax(probability)
            of_sigmoid = _find_log_of_complement(probability)
            return of_sigmoid if logits is None else FusedCall(numerics.log_one_minus_softmax, logits)
        case Call("add", (one, Call("exp", (x,)))) | Call("add", (Call("exp", (x,)), one)) if one == _ONE:
            return call("softplus", x)
        case Call("sum_c", (Call("exp", (x,)),)):
            return call("lse_c", x)
        case Call("at_target" | "max_c" as operator, (probability,)):
            logarithm = find_log_of_softmax(probability)
            if logarithm is None:
                return None
            if operator == "at_target" and not hard:  # soft targets mix probabilities, not their logarithms
                return FusedCall(numerics.log_at_target, logarithm, ("y",))
            return call(operator, logarithm)
        case Call("exp", (x,)):
            return x
    logarithm = _find_log_of_sigmoid(argument) or find_log_of_softmax(argument)
    return _find_log_of_product(argument, hard) if logarithm is None else logarithm


def _find_log_of_product(argument: Formula, hard: bool) -> Formula | None:
    """Return the sum of the logarithms of factors, each of which has a stable form or is a number above 0, or None."""
    match argument:
        case Call("mul" | "div" as operator, factors):
            numbers = [factor.constant for factor in factors]
            stable = [isinstance(factor, Call | Name) and _has_stable_log(factor, hard) for factor in factors]
            if any(stable) and all(ok or (n is not None and n > 0.0) for ok, n in zip(stable, numbers, strict=True)):
                return call("add" if operator == "mul" else "sub", *(call("log", factor) for factor in factors))
        case Call("pow", (base, exponent)) if _has_stable_log(base, hard):
            return call("mul", exponent, call("log", base))
        case Call("square" | "sqrt" as operator, (base,)) if _has_stable_log(base, hard):
            return call("mul", Number(2.0 if operator == "square" else 0.5), call("log", base))
    return None


def _has_stable_log(formula: Formula, hard: bool) -> bool:
    """Return True if the logarithm has a stable form. The value is above 0 then."""
    return _find_stable_log(formula, hard) is not None


def _find_log_of_sigmoid(formula: Formula) -> Formula | None:
    """Return the logarithm of sigmoid(x) or 1 - sigmoid(x), which is -softplus(-x) or -softplus(x); else None.

    1/(1 + exp(x)) and exp(x)/(1 + exp(x)) are sigmoids, too.
    """
    match formula:
        case Call("sigmoid", (x,)):
            return call("neg", call("softplus", _negate(x)))
        case Call("sub", (one, probability)) | Call("add", (one, Call("neg", (probability,)))) if one == _ONE:
            return _find_log_of_complement(probability)
        case Call("div", (one, Call("add", (first, second)))) if one == _ONE and _ONE in (first, second):
            other = second if first == _ONE else first
            if isinstance(other, Call) and other.operator == "exp":
                return call("neg", call("softplus", other.arguments[0]))
        case Call("div", (Call("exp", (x,)) as power, Call("add", pair))) if set(pair) == {_ONE, power}:
            return call("neg", call("softplus", _negate(x)))
    return None


def _find_log_of_complement(probability: Formula) -> Formula | None:
    """Return the logarithm of 1 - probability where the probability is a sigmoid, else None."""
    match _find_log_of_sigmoid(probability):
        case Call("neg", (Call("softplus", (x,)),)):
            return call("neg", call("softplus", _negate(x)))
    return None


def _negate(formula: Formula) -> Formula:
    match formula:
        case Call("neg", (x,)):
            return x
    return call("neg", formula)
