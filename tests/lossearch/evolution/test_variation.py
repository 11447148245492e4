"""Variation: changes that respect the meaning of a loss's parts."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossearch.evolution.variation import deepest_nesting, known_terms, replace_at, vary, walk_places
from lossearch.primitives.analysis.targets import looks_at_target
from lossearch.primitives.language.formula import Call, Name
from lossearch.primitives.language.operators import OPERATORS
from lossearch.primitives.language.parser import parse
from lossearch.runs.experiment import VARIATIONS, EvolutionSettings
from tests.lossearch.evolution.test_population import evolution, live
from tests.primitives.strategies import formulas

KINDS = ("family", "insertion", "margin", "wrapping", "hoist", "shrink")
SETTINGS = EvolutionSettings(terminals=("p", "y", "z", "cosine"))


def made(how, text, count=60, settings=SETTINGS):
    """Vary a formula ``count`` times, and return the distinct results."""
    generator = random.Random(0)
    children = [vary(how, parse(text), settings, generator) for _ in range(count)]
    return {str(child) for child in children if child is not None}


@given(formulas(max_leaves=25), st.sampled_from(KINDS), st.integers(0, 2**32))
def test_every_variation_stays_in_the_language(formula, how, seed):
    child = vary(how, formula, SETTINGS, random.Random(seed))
    again = vary(how, formula, SETTINGS, random.Random(seed))
    assert child == again
    if child is not None:
        assert parse(str(child)) == child
        if how in ("hoist", "shrink"):
            assert child.size < formula.size
        if how == "family":
            assert child.size == formula.size
            assert child != formula


@given(formulas(max_leaves=25))
def test_every_place_can_be_replaced_by_itself(formula):
    places = list(walk_places(formula))
    assert [place.node for place in places] == list(formula.walk())
    for place in places:
        assert place.node.shape <= place.holds
        assert replace_at(formula, place.path, place.node) == formula


def test_a_hoisted_part_looks_at_the_target():
    assert made("hoist", "ce(z) + 0.5*mean_c(square(p - y))") == {
        *("ce(z)", "0.5*mean_c(square(p - y))", "mean_c(square(p - y))", "square(p - y)", "p - y", "y")
    }


def test_a_call_shrinks_to_an_argument_that_fits_its_place():
    assert made("shrink", "ce(2*exp(z))") == {"ce(2)", "ce(exp(z))", "ce(z)", "ce(2*z)", "2", "2*exp(z)", "exp(z)", "z"}


def test_terms_of_known_losses_are_added_or_replace_terms():
    terms = {str(term) for term in known_terms(SETTINGS.terminals, SETTINGS.operators)}
    assert {"ce(z)", "square(y - p)"} & terms
    assert all(looks_at_target(parse(term)) for term in terms)
    children = made("insertion", "ce(z) + mean_c(p)", 200)
    assert any(child.startswith("ce(z) + mean_c(p) + ") for child in children)
    assert any(child.endswith(" + mean_c(p)") and not child.startswith("ce(z)") for child in children)
    allowed = {*SETTINGS.terminals, "num_classes", "pi"}
    assert all(parse(child).names <= allowed for child in children)


def test_no_term_of_a_discovered_loss_is_inserted():
    """A test split chose it, so a search on the same samples must not start from it."""
    vocabulary = ("p", "y", "z", "cosine", "prior")
    terms = {str(term) for term in known_terms(vocabulary, SETTINGS.operators)}
    assert any("log(prior)" in term for term in terms)
    assert not {term for term in terms if "1.023" in term or "0.0624" in term}


def test_margins_are_swapped_set_and_taken_away():
    angular = made("margin", "ce(30*(cosine - 0.35*y))")
    assert "ce(30*cosine)" in angular
    assert any(formula.startswith("ce(30*cos(arccos(cosine) + ") for formula in angular)
    assert len(angular) > 2
    assert "ce(30*cosine)" in made("margin", "ce(30*cos(arccos(cosine) + 0.5*y))")
    assert all(formula.startswith("ce(z - ") for formula in made("margin", "ce(z)"))
    assert made("margin", "mean_c(square(p - y))") == set()
    assert made("margin", "ce(z)", settings=EvolutionSettings(terminals=("p", "z"))) == set()


def test_a_wrapped_formula_keeps_its_inner_part():
    assert {"exp(ce(z))", "ce(exp(z))"} <= made("wrapping", "ce(z)", 200)


def test_an_operator_is_replaced_by_one_of_its_family():
    assert made("family", "ce(z) + p") == {"ce(z) - p"}
    assert made("family", "tanh(p)") == {"sigmoid(p)"}  # of those that the experiment allows
    assert made("family", "ce(z)") == set()


@pytest.mark.parametrize(
    ("text", "depth"), [("ce(z)", 1), ("sin(sin(sin(p)))", 3), ("sin(cos(sin(p))) + sin(p)", 2), ("p", 0)]
)
def test_nesting_is_counted_on_the_way_to_a_leaf(text, depth):
    assert deepest_nesting(parse(text)) == depth


def test_births_keep_the_limit_of_nesting_and_every_kind_is_born():
    weights = dict.fromkeys(VARIATIONS.values(), 0.1)
    settings = SETTINGS.model_copy(update={"max_nesting": 1, "population": 30, **weights})
    born = live(evolution(2, settings), 40, random.Random(0))
    assert {birth.birth for birth in born} == {"known", "random", *VARIATIONS}
    assert max(deepest_nesting(birth.formula) for birth in born if birth.birth != "known") == 1


def test_every_operator_of_a_family_takes_as_many_arguments():
    from lossearch.evolution.variation import FAMILIES

    for family in FAMILIES:
        assert len({OPERATORS[operator].arity for operator in family}) == 1
        assert len({(OPERATORS[operator].takes, OPERATORS[operator].elementwise) for operator in family}) == 1


def test_the_root_holds_any_shape():
    (place, *_) = walk_places(parse("ce(z)"))
    assert (place.node, place.path) == (parse("ce(z)"), ())
    assert isinstance(place.node, Call)
    assert Name("z") in place.node.arguments
