"""Hypothesis strategies for formulas."""

from hypothesis import strategies as st

from lossearch.primitives.language.formula import Formula, FormulaError, Name, Number, call
from lossearch.primitives.language.operators import OPERATORS
from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.language.terminals import TERMINALS

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(Number)
names = st.sampled_from(sorted(TERMINALS)).map(Name)


def _called(arguments: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
    return st.tuples(st.sampled_from(sorted(OPERATORS)), arguments, arguments).map(_call_if_allowed)


def _call_if_allowed(parts: tuple[str, Formula, Formula]) -> Formula:
    name, *arguments = parts
    operator = OPERATORS[name]
    try:
        return call(name, *arguments[: operator.arity])
    except FormulaError:
        return arguments[0]


def formulas(max_leaves: int = 12) -> st.SearchStrategy[Formula]:
    """Return a strategy for well-typed formulas over every terminal."""
    return st.recursive(st.one_of(numbers, names), _called, max_leaves=max_leaves)


def losses(max_leaves: int = 12) -> st.SearchStrategy[Formula]:
    """Return a strategy for formulas with at least one value per sample."""
    return formulas(max_leaves).filter(lambda formula: formula.shape is not Shape.SCALAR)
