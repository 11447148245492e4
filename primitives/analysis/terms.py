"""Terms: the parts of a formula that can be left out one by one, to see which of them matter.

Terms of a sum are left out as if they were 0, factors of a product as if they were 1. What is left is a formula again,
or nothing.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from lossearch.primitives.language.formula import Call, Formula, Number, call
from lossearch.primitives.language.operators import OPERATORS

#: Where a node stands: which argument to take at each level, from the root down.
Path = tuple[int, ...]

_SUMS, _PRODUCTS = frozenset({"add", "sub", "neg"}), frozenset({"mul", "div"})


@dataclass(frozen=True)
class Part:
    """A part of a formula that can be left out: its text with the sign or stroke before it, its kind, its place."""

    text: str
    kind: Literal["term", "factor"]
    path: Path


def parts_of(formula: Formula) -> list[Part]:
    """The terms of the formula's sum; where it is one term, its factors; where it is one factor, the parts within.

    A factor that is a number counts within a function alone: before a whole loss it is a learning rate. There are none
    in a formula such as ``ce(z)``.
    """
    return list(_parts(formula, (), within=False))


def without(formula: Formula, left_out: Collection[Part]) -> Formula | None:
    """The formula without some of its parts; None where nothing is left."""
    return _without(formula, (), {part.path for part in left_out})


def _parts(formula: Formula, path: Path, within: bool) -> Iterator[Part]:
    terms = list(_terms(formula, path, ""))
    if len(terms) > 1:
        yield from terms
        return
    factors = list(_factors(formula, path, ""))
    telling = [(part, node) for part, node in factors if node.constant is None]
    numbers = [part for part, node in factors if node.constant is not None]
    if len(telling) > 1:
        yield from (part for part, _ in (factors if within else telling))
    elif telling:
        yield from numbers if within else ()
        ((part, node),) = telling
        yield from _below(node, path, within) if part.path == path else _parts(node, part.path, within)


def _below(formula: Formula, path: Path, within: bool) -> Iterator[Part]:
    """The parts of the one argument of a call that is no number."""
    if not isinstance(formula, Call) or formula.operator == "detach":
        return
    places = [place for place, argument in enumerate(formula.arguments) if argument.constant is None]
    if len(places) == 1:
        linear = OPERATORS[formula.operator].linear or formula.operator in _SUMS
        yield from _parts(formula.arguments[places[0]], (*path, places[0]), within or not linear)


def _terms(formula: Formula, path: Path, sign: str) -> Iterator[Part]:
    """The terms of a nest of sums and differences, each with its sign, none before the first one of a plus."""
    if not isinstance(formula, Call) or formula.operator not in _SUMS:
        yield Part(_signed(sign, formula), "term", path)
        return
    turned = {"": "- ", "+ ": "- ", "- ": "+ "}[sign]
    if formula.operator == "neg":
        yield from _terms(formula.arguments[0], (*path, 0), turned)
        return
    yield from _terms(formula.arguments[0], (*path, 0), sign)
    second = turned if formula.operator == "sub" else sign or "+ "
    yield from _terms(formula.arguments[1], (*path, 1), second)


def _signed(sign: str, formula: Formula) -> str:
    text = str(formula)
    return f"{sign}({text})" if sign and text.startswith("-") else f"{sign}{text}"


def _factors(formula: Formula, path: Path, stroke: str) -> Iterator[tuple[Part, Formula]]:
    """The factors of a nest of products and quotients, with a stroke before those below it."""
    if isinstance(formula, Call) and formula.operator == "neg":
        yield from _factors(formula.arguments[0], (*path, 0), stroke)
        return
    if not isinstance(formula, Call) or formula.operator not in _PRODUCTS:
        text = str(formula)
        looser = stroke and isinstance(formula, Call) and formula.operator in _SUMS
        yield Part(f"{stroke}({text})" if looser else f"{stroke}{text}", "factor", path), formula
        return
    yield from _factors(formula.arguments[0], (*path, 0), stroke)
    turned = "" if stroke else "1/"
    yield from _factors(formula.arguments[1], (*path, 1), turned if formula.operator == "div" else stroke)


def _without(formula: Formula, path: Path, left_out: Collection[Path]) -> Formula | None:
    if path in left_out:
        return None
    if not isinstance(formula, Call):
        return formula
    kept = [_without(each, (*path, place), left_out) for place, each in enumerate(formula.arguments)]
    if None not in kept:
        return call(formula.operator, *(each for each in kept if each is not None))
    first, second = (*kept, None)[:2]
    if formula.operator == "sub" and second is not None:
        return call("neg", second)
    if formula.operator == "div" and second is not None:
        return call("div", Number(1.0), second)
    if formula.operator in ("add", "mul", "sub", "div"):
        return first if first is not None else second
    return None
