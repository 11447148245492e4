"""Terms: the parts of a formula that an ablation leaves out one by one, to measure their effect.

A term of a sum is left out as if it were 0, a factor of a product as if it were 1. What remains is a formula, or
nothing.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from lossearch.primitives.language.formula import Call, Formula, Number, call
from lossearch.primitives.language.operators import OPERATORS

#: The place of a node: which argument to take at each level, from the root down.
Path = tuple[int, ...]

_SUMS, _PRODUCTS = frozenset({"add", "sub", "neg"}), frozenset({"mul", "div"})


@dataclass(frozen=True)
class Part:
    """A part of a formula that can be left out. ``text`` includes the sign or the ``1/`` before it."""

    text: str
    kind: Literal["term", "factor"]
    path: Path


def parts_of(formula: Formula) -> list[Part]:
    """List the terms of the formula's sum; of one term its factors; of one factor the parts inside.

    A number counts as a factor only inside a function: as a factor of a whole loss it is a learning rate. A formula
    such as ``ce(z)`` has no parts.
    """
    return list(_parts(formula, (), inside=False))


def without(formula: Formula, left_out: Collection[Part]) -> Formula | None:
    """Leave some parts out of a formula. Return None if nothing remains."""
    return _leave_out(formula, (), {part.path for part in left_out})


def _parts(formula: Formula, path: Path, inside: bool) -> Iterator[Part]:
    terms = list(_terms(formula, path, ""))
    if len(terms) > 1:
        yield from terms
        return
    factors = list(_factors(formula, path, ""))
    varying = [(part, node) for part, node in factors if node.constant is None]
    numbers = [part for part, node in factors if node.constant is not None]
    if len(varying) > 1:
        yield from (part for part, _ in (factors if inside else varying))
    elif varying:
        yield from numbers if inside else ()
        ((part, node),) = varying
        yield from _below(node, path, inside) if part.path == path else _parts(node, part.path, inside)


def _below(formula: Formula, path: Path, inside: bool) -> Iterator[Part]:
    """Return the parts of the only argument of a call that is not a number."""
    if not isinstance(formula, Call) or formula.operator == "detach":
        return
    places = [place for place, argument in enumerate(formula.arguments) if argument.constant is None]
    if len(places) == 1:
        linear = OPERATORS[formula.operator].linear or formula.operator in _SUMS
        yield from _parts(formula.arguments[places[0]], (*path, places[0]), inside or not linear)


def _terms(formula: Formula, path: Path, sign: str) -> Iterator[Part]:
    """Return the terms of nested sums and differences, each with its sign; the first has no plus."""
    if not isinstance(formula, Call) or formula.operator not in _SUMS:
        yield Part(_signed(sign, formula), "term", path)
        return
    opposite = {"": "- ", "+ ": "- ", "- ": "+ "}[sign]
    if formula.operator == "neg":
        yield from _terms(formula.arguments[0], (*path, 0), opposite)
        return
    yield from _terms(formula.arguments[0], (*path, 0), sign)
    second_sign = opposite if formula.operator == "sub" else sign or "+ "
    yield from _terms(formula.arguments[1], (*path, 1), second_sign)


def _signed(sign: str, formula: Formula) -> str:
    text = str(formula)
    return f"{sign}({text})" if sign and text.startswith("-") else f"{sign}{text}"


def _factors(formula: Formula, path: Path, stroke: str) -> Iterator[tuple[Part, Formula]]:
    """Return the factors of nested products and quotients, with ``1/`` before the divisors."""
    if isinstance(formula, Call) and formula.operator == "neg":
        yield from _factors(formula.arguments[0], (*path, 0), stroke)
        return
    if not isinstance(formula, Call) or formula.operator not in _PRODUCTS:
        text = str(formula)
        is_loose = stroke and isinstance(formula, Call) and formula.operator in _SUMS
        yield Part(f"{stroke}({text})" if is_loose else f"{stroke}{text}", "factor", path), formula
        return
    yield from _factors(formula.arguments[0], (*path, 0), stroke)
    opposite = "" if stroke else "1/"
    yield from _factors(formula.arguments[1], (*path, 1), opposite if formula.operator == "div" else stroke)


def _leave_out(formula: Formula, path: Path, left_out: Collection[Path]) -> Formula | None:
    if path in left_out:
        return None
    if not isinstance(formula, Call):
        return formula
    kept = [_leave_out(argument, (*path, place), left_out) for place, argument in enumerate(formula.arguments)]
    if None not in kept:
        return call(formula.operator, *(argument for argument in kept if argument is not None))
    first, second = (*kept, None)[:2]
    if formula.operator == "sub" and second is not None:
        return call("neg", second)
    if formula.operator == "div" and second is not None:
        return call("div", Number(1.0), second)
    if formula.operator in ("add", "mul", "sub", "div"):
        return first if first is not None else second
    return None
