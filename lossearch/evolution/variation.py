"""Variation that knows what formulas of losses mean: terms, margins, families of operators.

Invariant: a variation returns a well-typed formula or None where it has no place, and every random choice comes from
the generator that was passed in. Limits on size are not its own.
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

#: Operators that stand for each other: the sums and products, the growing, the flattening, the waves, the reductions.
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

#: Nodes of a known term at most.
LARGEST_TERM = 12


@dataclass(frozen=True)
class Place:
    """A node of a formula: the way to it, itself, and the largest shape that may stand there."""

    path: tuple[int, ...]
    node: Formula
    holds: Shape


def places(formula: Formula, holds: Shape = Shape.CLASS, path: tuple[int, ...] = ()) -> Iterator[Place]:
    """All nodes, in prefix order."""
    yield Place(path, formula, holds)
    if isinstance(formula, Call):
        takes = OPERATORS[formula.operator].takes
        for number, argument in enumerate(formula.arguments):
            yield from places(argument, formula.shape if takes is None else takes, (*path, number))


def replaced(formula: Formula, path: Sequence[int], new: Formula) -> Formula:
    """The formula with another node at a place. Raises FormulaError where its shape does not fit."""
    if not path:
        return new
    assert isinstance(formula, Call)
    arguments = list(formula.arguments)
    arguments[path[0]] = replaced(arguments[path[0]], path[1:], new)
    return call(formula.operator, *arguments)


def deepest_nesting(formula: Formula) -> int:
    """How often one function of one argument stands within itself at most, on the way to a leaf."""

    def below(node: Formula, counts: dict[str, int]) -> int:
        if isinstance(node, Call) and OPERATORS[node.operator].arity == 1 and node.operator != "neg":
            counts = counts | {node.operator: counts.get(node.operator, 0) + 1}
        own = max(counts.values(), default=0)
        return max([own, *(below(each, counts) for each in node.arguments)])

    return below(formula, {})


def varied(how: str, formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """What a kind of variation makes of a formula; None where it has no place there, or the language forbids it."""
    try:
        return _KINDS[how](formula, settings, generator)
    except FormulaError:
        return None


def hoisted(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """A part that looks at the target, instead of the whole: what else there is may be bloat."""
    parts = [each.node for each in _parts(formula) if each.path and looks_at_target(each.node)]
    return generator.choice(parts) if parts else None


def shrunk(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """A call replaced by what it is applied to, or by something further below."""
    inner = [each for each in places(formula) if isinstance(each.node, Call)]
    if not inner:
        return None
    place = generator.choice(inner)
    fitting = [each for each in list(place.node.walk())[1:] if each.shape <= place.holds]
    return replaced(formula, place.path, generator.choice(fitting)) if fitting else None


def with_known_term(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """A term of a known loss added to the formula, or put in the place of one of its terms."""
    terms = known_terms(settings.terminals, settings.operators)
    if not terms:
        return None
    term, own = generator.choice(terms), list(_summands(formula))
    if len(own) > 1 and generator.random() < 0.5:
        return replaced(formula, generator.choice(own).path, term)
    return call("add", formula, call("mul", Number(log_uniform(generator, 0.05, 5.0)), term))


def wrapped(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """A function applied to a part."""
    functions = [each for each in settings.operators if OPERATORS[each].elementwise and OPERATORS[each].arity == 1]
    parts = _parts(formula)
    if not functions or not parts:
        return None
    place = generator.choice(parts)
    return replaced(formula, place.path, call(generator.choice(functions), place.node))


def with_other_margin(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """Logits or cosines that get a margin at the target, another one, or none."""
    found = list(_margined(formula))
    if not found or "y" not in settings.terminals:
        return None
    place, base = generator.choice(found)
    additive = call("sub", base, call("mul", Number(log_uniform(generator, 0.05, 2.0)), Name("y")))
    forms = [base, additive]
    if base == Name("cosine"):
        forms.append(_angular(base, log_uniform(generator, 0.05, 1.0)))
    forms = [each for each in forms if _kind_of_margin(each) != _kind_of_margin(place.node)]
    return replaced(formula, place.path, generator.choice(forms))


def with_operator_of_family(formula: Formula, settings: EvolutionSettings, generator: random.Random) -> Formula | None:
    """An operator replaced by one of its family."""
    allowed = set(settings.operators)
    found = [
        (each, others)
        for each in places(formula)
        if isinstance(each.node, Call) and (others := _others(each.node.operator, allowed))
    ]
    if not found:
        return None
    place, others = generator.choice(found)
    return replaced(formula, place.path, call(generator.choice(others), *place.node.arguments))


#: Kinds of variation, by what births are called.
_KINDS: dict[str, Callable[[Formula, EvolutionSettings, random.Random], Formula | None]] = {
    "family": with_operator_of_family,
    "insertion": with_known_term,
    "margin": with_other_margin,
    "wrapping": wrapped,
    "hoist": hoisted,
    "shrink": shrunk,
}


@lru_cache(maxsize=32)
def known_terms(terminals: tuple[str, ...], operators: tuple[str, ...]) -> list[Formula]:
    """Terms of the literature's losses within a vocabulary, in the catalogue's order.

    Of none that a search discovered: a test split chose those, and what it chose is not to be found on it again.
    """
    found: dict[Formula, None] = {}
    for loss in (each for each in CATALOG.values() if each.origin == "literature"):
        for each in _summands(loss.bound()):
            term = each.node
            used = {node.operator for node in term.walk() if isinstance(node, Call)}
            known = term.names <= {*terminals, "num_classes", "pi"} and used <= set(operators)
            if known and term.size <= LARGEST_TERM and looks_at_target(term):
                found[term] = None
    return list(found)


def log_uniform(generator: random.Random, low: float, high: float) -> float:
    """A number of three digits, as a person would write it."""
    return rounded(math.exp(generator.uniform(math.log(low), math.log(high))))


def rounded(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")


def _parts(formula: Formula) -> list[Place]:
    """Places of what is no number."""
    return [each for each in places(formula) if each.node.shape is not Shape.SCALAR]


def _summands(formula: Formula) -> Iterator[Place]:
    """The terms of a sum, whose signs are left aside."""
    waiting = [Place((), formula, Shape.CLASS)]
    while waiting:
        place = waiting.pop(0)
        if isinstance(place.node, Call) and place.node.operator in ("add", "sub"):
            waiting += [
                Place((*place.path, number), each, place.holds) for number, each in enumerate(place.node.arguments)
            ]
        else:
            yield place


def _others(operator: str, allowed: set[str]) -> list[str]:
    return [each for family in FAMILIES if operator in family for each in family if each in allowed - {operator}]


def _angular(base: Formula, margin: float) -> Formula:
    return call("cos", call("add", call("arccos", base), call("mul", Number(margin), Name("y"))))


def _margined(formula: Formula) -> Iterator[tuple[Place, Formula]]:
    """Places of logits and cosines, each with its margin where it has one, and the logits or cosines themselves."""
    taken: list[tuple[int, ...]] = []
    for place in places(formula):
        if any(place.path[: len(each)] == each for each in taken):
            continue
        kind = _kind_of_margin(place.node)
        if kind is not None:
            taken.append(place.path)
            yield place, next(Name(name) for name in ("z", "cosine") if name in place.node.names)


def _kind_of_margin(node: Formula) -> str | None:
    """``none`` for plain logits or cosines, ``additive``, ``angular``, or None for anything else."""
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
    """A number times the target."""
    return node == Name("y") or (
        isinstance(node, Call)
        and node.operator == "mul"
        and {type(each) for each in node.arguments} == {Number, Name}
        and node.names == {"y"}
    )
