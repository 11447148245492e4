"""Algebra: the canonical form of a formula, by sympy.

Invariant: a canonical form agrees with its original in value and gradient on the probe and is neither larger nor
deeper; otherwise the original is kept. Text never reaches sympy: expressions are built node by node. Sympy's work is
limited in calls, not in seconds, so that a slow machine does not change a search. The limit is far above the cost of
usual formulas, because that cost varies: sympy saves calls by what it remembers of earlier formulas.
"""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import sympy

from lossearch.primitives.identity.probe import same_on_probe
from lossearch.primitives.language.formula import MAX_LITERAL, Call, Formula, FormulaError, Name, Number, call
from lossearch.primitives.language.operators import OPERATORS
from lossearch.primitives.language.shapes import Shape

#: Limit on sympy's Python calls for one formula: about half a second. A usual formula takes 2 % of them.
WORK_LIMIT = 400_000

_ROUNDS = 3  # of transforms, each applied to the best form so far

_DIGITS = 10  # significant digits of a constant that algebra computed


class _Unreadable(Exception):
    """A result of sympy that the language cannot express."""


class _OutOfWork(BaseException):
    """Sympy made all its calls. Not an Exception, so that sympy does not catch it."""


def canonical(formula: Formula, work_limit: int = WORK_LIMIT) -> Formula:
    """Find the smallest algebraically equal form that cheap transforms reach.

    Of forms of one size it is the first in the order of their text, so that a canonical form is its own canonical form.
    Returns the formula with its numbers folded where no form is better and right, or where the work limit is reached.
    """
    best = _fold_numbers(formula)
    for _ in range(_ROUNDS):
        forms = run_within_limit(partial(_forms, best), work_limit // _ROUNDS) or []
        allowed = {form for form in forms if _preference(form) < _preference(best) and form.depth <= formula.depth}
        better = sorted(allowed, key=_preference)
        right = next((form for form in better if same_on_probe(form, formula)), best)
        if right == best:
            break
        best = right
    return best


def _fold_numbers(formula: Formula) -> Formula:
    """Put a number in the place of each operation on numbers."""
    if isinstance(formula, Call):
        if formula.constant is not None and "pi" not in formula.names:
            return Number(formula.constant)
        return call(formula.operator, *(_fold_numbers(argument) for argument in formula.arguments))
    return formula


def _preference(formula: Formula) -> tuple[int, str]:
    return formula.size, str(formula)


def run_within_limit(work: Callable[[], Any], limit: int) -> Any:
    """Run ``work`` and return its result, or None once it has made more than ``limit`` Python calls.

    There is no limit under a profiler, which has the hook that counts.
    """
    if sys.getprofile() is not None:
        return work()
    spent = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal spent
        if event == "call":
            spent += 1
            # An exception raised while a generator is closed is lost: wait for the next call.
            if spent > limit and not frame.f_code.co_flags & inspect.CO_GENERATOR:
                raise _OutOfWork

    sys.setprofile(count)
    try:
        return work()
    except (_OutOfWork, RecursionError, OverflowError):
        return None
    finally:
        sys.setprofile(None)


def _forms(formula: Formula) -> list[Formula]:
    expression = _build(formula)
    forms = []
    for transform in (lambda e: e, sympy.factor_terms, sympy.together):
        try:
            forms.append(_read(transform(expression)))
        except (_Unreadable, FormulaError):
            continue
    return forms


# From formulas to sympy.

_SYMBOLS = {
    name: sympy.Symbol(name, real=True, positive=True if name in {"p", "num_classes"} else None)
    for name in ("p", "y", "z", "cosine", "dist2", "norm", "weight_norm", "prior", "num_classes", "progress")
}


def _build(formula: Formula) -> Any:
    if isinstance(formula, Name):
        return sympy.pi if formula.name == "pi" else _SYMBOLS.get(formula.name, sympy.Symbol(formula.name, real=True))
    number = formula.constant
    if number is not None:  # floats, since exact numbers can grow without bound
        return sympy.Integer(int(number)) if number in (-1, 0, 1) else sympy.Float(number, 15)
    assert isinstance(formula, Call)
    operator = OPERATORS[formula.operator]
    arguments = [_build(argument) for argument in formula.arguments]
    if formula.operator == "pow" and formula.arguments[1].constant is not None:
        twice = 2.0 * formula.arguments[1].constant  # halves are exact, so that roots and squares cancel
        return arguments[0] ** (sympy.Rational(int(twice), 2) if twice == int(twice) else sympy.Float(twice / 2.0))
    if operator.algebra is not None:
        return operator.algebra(sympy, *arguments)
    if _is_its_argument(formula, arguments):
        return arguments[0]
    opaque = sympy.Function(formula.operator, real=True)
    if operator.linear:
        factor, rest = arguments[0].as_coeff_Mul()
        return factor * opaque(rest)
    return opaque(*arguments)


def _is_its_argument(formula: Call, arguments: list[Any]) -> bool:
    """Return True for the mean or largest of classes that are all the same, and the smaller or larger of two equals."""
    if formula.operator in ("mean_c", "max_c"):
        return formula.arguments[0].shape is not Shape.CLASS
    return formula.operator in ("minimum", "maximum") and arguments[0] == arguments[1]


# From sympy to formulas.

_NAMED = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.tanh: "tanh",
    sympy.atan: "arctan",
    sympy.erf: "erf",
}


def _read(expression: Any) -> Formula:
    if expression.is_number:
        return _read_number(expression)
    if expression.is_Symbol:
        return Name(expression.name)
    if expression.is_Add:
        return _read_sum(expression)
    if expression.is_Mul:
        return _read_product(expression)
    if expression.is_Pow:
        return _read_power(*expression.as_base_exp())
    name = _NAMED.get(expression.func) or expression.func.__name__
    if name not in OPERATORS:
        raise _Unreadable(name)
    return call(name, *(_read(argument) for argument in expression.args))


def _read_number(expression: Any) -> Formula:
    if expression is sympy.pi:
        return Name("pi")
    value = complex(expression.evalf(17))
    if value.imag or not abs(value.real) <= MAX_LITERAL:
        raise _Unreadable(expression)
    return Number(value.real if expression.is_Integer else float(f"{value.real:.{_DIGITS}g}"))


def _read_sum(expression: Any) -> Formula:
    """Read a sum in a fixed order: terms with a plus first, numbers last unless they alone have a plus."""
    terms = [(term.could_extract_minus_sign(), term) for term in expression.args]
    positive = sorted((_read(term) for minus, term in terms if not minus), key=_order)
    negative = sorted((_read(-term) for minus, term in terms if minus), key=_order)
    if not positive:
        positive = [call("neg", negative.pop(0))]
    result = positive[0]
    for term in positive[1:]:
        result = call("add", result, term)
    for term in negative:
        result = call("sub", result, term)
    return result


def _read_product(expression: Any) -> Formula:
    factor, rest = expression.as_coeff_Mul()
    number = _read_number(factor)
    assert isinstance(number, Number)
    minus, size = number.value < 0, abs(number.value)
    above, below = [], []
    for part in sympy.Mul.make_args(rest):
        base, exponent = part.as_base_exp() if part.is_Pow else (part, sympy.S.One)
        if exponent.is_number and exponent.is_negative:
            below.append(_read_power(base, -exponent))
        else:
            above.append(_read(part))
    above.sort(key=_numbers_first)
    below.sort(key=_numbers_first)
    if size != 1.0:
        above.insert(0, Number(-size if minus else size))
        minus = False
    result = _product(above) if above else Number(1.0)
    if below:
        result = call("div", result, _product(below))
    return call("neg", result) if minus else result


def _product(factors: list[Formula]) -> Formula:
    result = factors[0]
    for factor in factors[1:]:
        result = call("mul", result, factor)
    return result


def _read_power(base: Any, exponent: Any) -> Formula:
    if base is sympy.E or base.func is sympy.exp:
        return call("exp", _read(exponent * (1 if base is sympy.E else base.args[0])))
    if exponent.is_number and float(exponent) == 1.0:
        return _read(base)
    if exponent.is_number and exponent.is_negative:
        return call("div", Number(1.0), _read_power(base, -exponent))
    if exponent.is_number and float(exponent) == 0.5:
        return call("sqrt", _read(base))
    return call("pow", _read(base), _read(exponent))


def _order(formula: Formula) -> tuple[bool, int, str]:
    return isinstance(formula, Number), formula.size, str(formula)


def _numbers_first(formula: Formula) -> tuple[bool, int, str]:
    return not isinstance(formula, Number), formula.size, str(formula)
