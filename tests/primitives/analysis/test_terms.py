"""The parts of a formula that can be left out, and the formula without them."""

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from lossearch.primitives.analysis.terms import parts_of, without
from lossearch.primitives.identity.probe import SAMPLES, compute_responses
from lossearch.primitives.language.formula import FormulaError, call
from lossearch.primitives.language.parser import parse
from tests.primitives.strategies import formulas


def left(text):
    """Return the formula without each of its parts."""
    formula = parse(text)
    return {part.text: str(without(formula, [part])) for part in parts_of(formula)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "ce(z) + 1 - at_target(p)",
            {"ce(z)": "1 - at_target(p)", "+ 1": "ce(z) - at_target(p)", "- at_target(p)": "ce(z) + 1"},
        ),
        ("-ce(z) - 0.5*mean_c(p)", {"- ce(z)": "-(0.5*mean_c(p))", "- 0.5*mean_c(p)": "-ce(z)"}),
        ("p - (y - z)", {"p": "-(y - z)", "- y": "p - (-z)", "+ z": "p - y"}),
        ("0.5*sum_c(p**2 - y)", {"p**2": "0.5*sum_c(-y)", "- y": "0.5*sum_c(p**2)"}),
        (
            "-sum_c(y*log(p)*(1 - p)**2)",
            {"y": "-sum_c(log(p)*(1 - p)**2)", "log(p)": "-sum_c(y*(1 - p)**2)", "(1 - p)**2": "-sum_c(y*log(p))"},
        ),
        ("2*ce(z)/(1 + at_target(p))", {"ce(z)": "2/(1 + at_target(p))", "1/(1 + at_target(p))": "2*ce(z)"}),
        ("ce(cosine*z)", {"cosine": "ce(z)", "z": "ce(cosine)"}),
        ("sqrt(ce(13*z))", {"13": "sqrt(ce(z))"}),
        (
            "ce(30*(cosine - 0.35*y))",
            {"30": "ce(cosine - 0.35*y)", "cosine": "ce(30*(-(0.35*y)))", "- 0.35*y": "ce(30*cosine)"},
        ),
        ("exp(minimum(p*z, 3))", {"p": "exp(minimum(z, 3))", "z": "exp(minimum(p, 3))"}),
    ],
)
def test_every_part_is_listed_with_the_rest(text, expected):
    assert left(text) == expected


@pytest.mark.parametrize("text", ["z", "ce(z)", "3*ce(z)", "square(sin(p))", "detach(p + y)", "at_target(p**y)"])
def test_a_formula_of_one_part_has_none_to_leave_out(text):
    assert parts_of(parse(text)) == []


def test_several_parts_or_all_are_left_out():
    formula = parse("ce(z) + p - y + 1")
    terms = parts_of(formula)
    assert str(without(formula, terms[1:3])) == "ce(z) + 1"
    assert without(formula, terms) is None
    assert without(formula, []) == formula


def added(sign, left, right):
    """Add two formulas, unless the sum of two literals is too large for one."""
    try:
        return call(sign, left, right)
    except FormulaError:
        reject()


signs, small = st.sampled_from(("add", "sub")), formulas(max_leaves=3)
sums = st.builds(added, signs, st.one_of(small, st.builds(added, signs, small, small)), small)


@given(sums)
def test_terms_add_up_to_the_whole(formula):
    """For a sum at the root: the whole is a term plus the formula without it."""
    terms = parts_of(formula)
    rest = without(formula, terms[:1])
    alone = [without(formula, [other for other in terms if other is not term]) for term in terms]
    assume(len({part.looks_at_embeddings for part in (formula, rest, *alone)}) == 1)  # else z differs
    # [moments, samples]: at one moment where a formula does not look at progress
    values = [value.reshape(-1, SAMPLES) for value, _ in compute_responses([formula, rest, *alone])]
    assume(all(value.isfinite().all() and value.abs().max() < 1e6 for value in values))
    whole, left, *parts = values
    assert {term.kind for term in terms} == {"term"}
    assert (whole - left - parts[0]).abs().max() < 1e-6
    assert (whole - sum(parts)).abs().max() < 1e-6
