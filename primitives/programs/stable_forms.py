"""Stable forms: logarithms and roots of a softmax rewritten so that they do not underflow.

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
            return None if logits is None else FusedCall(numerics.log_one_minus_softmax, logits)
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
    return find_log_of_softmax(argument)
