"""Variation that knows what the parts of a loss mean: terms, margins, families of operators.

Invariant: a variation returns a well-typed formula, or None if the formula has no place for it. Every random choice
comes from the generator that was passed in. Limits on size are checked elsewhere.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lossearch.primitives.analysis.targets import looks_at_target
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.formula import Call, Formula, FormulaError, Name, Number, call
from lossearch.primitives.language.operators import OPERATORS
from lossearch.primitives.language.shapes import Shape
from lossearch.runs.experiment import EvolutionSettings

#: Families of operators that may replace each other: sums, products, extrema, growing functions, logarithm-like ones,
#: waves, saturating functions, reductions, and the softmaxes.
FAMILIES = (
    ("add", "sub"),
    ("mul", "div"),
    ("minimum", "maximum"),
    ("exp", "square", "softplus", "relu", "abs"),
    ("log", "log10", "sqrt"),
    ("sin", "cos"),
    ("tanh", "sigmoid", "arctan", "erf"),
    ("sum_c", "mean_c", "max_c", "lse_c", "at_target"),
    ("softmax_c", "log_softmax_c"),
)

#: Largest number of nodes of a known term.
LARGEST_TERM = 12


@dataclass(frozen=True)
class Place:
    """A node of a formula and where it is."""

    path: tuple[int, ...]  #: argument numbers from the root to the node
    node: Formula
    holds: Shape  #: the largest shape that fits there


def walk_places(formula: Formula, holds: Shape = Shape.CLASS, path: tuple[int, ...] = ()) -> Iterator[Place]:
    """Yield the places of all nodes in prefix order."""
    yield Place(path, formula, holds)
    if isinstance(formula, Call):
        takes = OPERATORS[formula.operator].takes
        for number, argument in enumerate(formula.arguments):
            yield from walk_places(argument, formula.shape if takes is None else takes, (*path, number))


def replace_at(formula: Formula, path: Sequence[int], new: Formula) -> Formula:
    """Replace the node at a place by another one. Raises FormulaError if its shape does not fit."""
    if not path:
        return new
    assert isinstance(formula, Call)
    arguments = list(formula.arguments)
    arguments[path[0]] = replace_at(arguments[path[0]], path[1:], new)
    return call(formula.operator, *arguments)


def deepest_nesting(formula: Formula) -> int:
    """Count how often one function of one argument occurs at most on a path from the root to a leaf."""

    def below(node: Formula, counts: dict[str, int]) -> int:
        if isinstance(node, Call) and OPERATORS[node.operator].arity == 1 and node.operator != "neg":
            counts = counts | {node.operator: counts.get(node.operator, 0) + 1}
        deepest = max(counts.values(), default=0)
        return max([deepest, *(below(argument, counts) for argument in node.arguments)])

    return below(formula, {})


def vary(kind: str, formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """Apply a kind of variation; None if the formula has no place for it, or the language forbids the result."""
    try:
        return _KINDS[kind](formula, settings, generator)
    except FormulaError:
        return None


def hoist(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """Replace the formula by a part that looks at the target: the rest may be bloat."""
    parts = [place.node for place in _list_parts(formula) if place.path and looks_at_target(place.node)]
    return generator.choice(parts) if parts else None


def shrink(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """Replace a call by one of its arguments, or by something further below."""
    calls = [place for place in walk_places(formula) if isinstance(place.node, Call)]
    if not calls:
        return None
    place = generator.choice(calls)
    fitting = [node for node in list(place.node.walk())[1:] if node.shape <= place.holds]
    return replace_at(formula, place.path, generator.choice(fitting)) if fitting else None


def insert_known_term(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """Add a term of a known loss to the formula, or replace one of its terms by it."""
    terms = known_terms(settings.terminals, settings.operators)
    if not terms:
        return None
    term, summands = generator.choice(terms), list(_list_summands(formula))
    if len(summands) > 1 and generator.random() < 0.5:
        return replace_at(formula, generator.choice(summands).path, term)
    return call("add", formula, call("mul", Number(log_uniform(generator, 0.05, 5.0)), term))


def wrap(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """Apply a function to a part."""
    functions = [name for name in settings.operators if OPERATORS[name].elementwise and OPERATORS[name].arity == 1]
    parts = _list_parts(formula)
    if not functions or not parts:
        return None
    place = generator.choice(parts)
    return replace_at(formula, place.path, call(generator.choice(functions), place.node))


def change_margin(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """Give logits or cosines a margin at the target, another margin, or none."""
    margined = list(_list_margined(formula))
    if not margined or "y" not in settings.terminals:
        return None
    place, base = generator.choice(margined)
    additive = call("sub", base, call("mul", Number(log_uniform(generator, 0.05, 2.0)), Name("y")))
    forms = [base, additive]
    if base == Name("cosine"):
        forms.append(_add_angular_margin(base, log_uniform(generator, 0.05, 1.0)))
    forms = [form for form in forms if _find_kind_of_margin(form) != _find_kind_of_margin(place.node)]
    return replace_at(formula, place.path, generator.choice(forms))


def change_operator(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """Replace an operator by another one of its family."""
    allowed = set(settings.operators)
    replaceable = [
        (place, others)
        for place in walk_places(formula)
        if isinstance(place.node, Call) and (others := _list_alternatives(place.node.operator, allowed))
    ]
    if not replaceable:
        return None
    place, others = generator.choice(replaceable)
    return replace_at(formula, place.path, call(generator.choice(others), *place.node.arguments))


#: Kinds of variation, by the kind that births record.
_KINDS: dict[str, Callable[[Formula, EvolutionSettings, random.Random], Formula | None]] = {
    "family": change_operator,
    "insertion": insert_known_term,
    "margin": change_margin,
    "wrapping": wrap,
    "hoist": hoist,
    "shrink": shrink,
}


@lru_cache(maxsize=32)
def known_terms(terminals: tuple[str, ...], operators: tuple[str, ...]) -> list[Formula]:
    """List the terms of known losses that a vocabulary can express, in the catalogue's order.

    Discovered losses are left out: a test split selected them, so a later search must not start from them.
    """
    terms: dict[Formula, None] = {}
    for loss in (loss for loss in CATALOG.values() if loss.origin == "literature"):
        for place in _list_summands(loss.bound()):
            term = place.node
            used = {node.operator for node in term.walk() if isinstance(node, Call)}
            is_expressible = term.names <= {*terminals, "num_classes", "pi"} and used <= set(operators)
            if is_expressible and term.size <= LARGEST_TERM and looks_at_target(term):
                terms[term] = None
    return list(terms)


def log_uniform(generator: random.Random, low: float, high: float) -> float:
    """Draw a log-uniform number between ``low`` and ``high``, rounded to three digits as a person would write it."""
    return rounded(math.exp(generator.uniform(math.log(low), math.log(high))))


def rounded(value: float) -> float:
    """Round to three significant digits."""
    return float(f"{value:.3g}")


def _list_parts(formula: Formula) -> list[Place]:
    """List the places of all nodes that are not plain numbers."""
    return [place for place in walk_places(formula) if place.node.shape is not Shape.SCALAR]


def _list_summands(formula: Formula) -> Iterator[Place]:
    """Yield the places of a sum's terms, without regard to their signs."""
    waiting = [Place((), formula, Shape.CLASS)]
    while waiting:
        place = waiting.pop(0)
        if isinstance(place.node, Call) and place.node.operator in ("add", "sub"):
            waiting += [
                Place((*place.path, number), argument, place.holds)
                for number, argument in enumerate(place.node.arguments)
            ]
        else:
            yield place


def _list_alternatives(operator: str, allowed: set[str]) -> list[str]:
    """List the allowed operators of the same family, without the operator itself."""
    return [other for family in FAMILIES if operator in family for other in family if other in allowed - {operator}]


def _add_angular_margin(base: Formula, margin: float) -> Formula:
    """Add a margin to the angle of a cosine: cos(arccos(base) + margin*y)."""
    return call("cos", call("add", call("arccos", base), call("mul", Number(margin), Name("y"))))


def _list_margined(formula: Formula) -> Iterator[tuple[Place, Formula]]:
    """Yield the places of logits and cosines, with their margin if they have one, and the bare logits or cosines."""
    taken: list[tuple[int, ...]] = []
    for place in walk_places(formula):
        if any(place.path[: len(path)] == path for path in taken):
            continue
        kind = _find_kind_of_margin(place.node)
        if kind is not None:
            taken.append(place.path)
            yield place, next(Name(name) for name in ("z", "cosine") if name in place.node.names)


def _find_kind_of_margin(node: Formula) -> str | None:
    """Return ``none`` for plain logits or cosines, ``additive``, ``angular``, or None for anything else."""
    bases = (Name("z"), Name("cosine"))
    if node in bases:
        return "none"
    if not isinstance(node, Call):
        return None
    first = node.arguments[0]
    if node.operator == "sub" and first in bases and _is_margin(node.arguments[1]):
        return "additive"
    inside = first if node.operator == "cos" else None
    if isinstance(inside, Call) and inside.operator == "add" and _is_margin(inside.arguments[1]):
        angle = inside.arguments[0]
        return "angular" if angle == call("arccos", Name("cosine")) else None
    return None


def _is_margin(node: Formula) -> bool:
    """Return True for the target, or a number times the target."""
    return node == Name("y") or (
        isinstance(node, Call)
        and node.operator == "mul"
        and {type(argument) for argument in node.arguments} == {Number, Name}
        and node.names == {"y"}
    )
