import pytest
from hypothesis import given

from lossearch.primitives.catalog.loss import MAX_CONSTANTS, tunable_constants
from lossearch.primitives.language.formula import Number
from lossearch.primitives.language.parser import parse
from tests.primitives.strategies import formulas


@given(formulas(max_leaves=30))
def test_the_defaults_give_the_formula_back_and_every_end_of_a_range_is_allowed(formula):
    named, constants = tunable_constants(formula)
    assert named.bind({constant.name: constant.default for constant in constants}) == formula
    for end in ("low", "high"):
        bound = named.bind({constant.name: getattr(constant, end) for constant in constants})
        assert not bound.names & {constant.name for constant in constants}
    assert len(constants) <= min(MAX_CONSTANTS, sum(isinstance(node, Number) for node in formula.walk()))


def test_constants_are_named_in_prefix_order_with_ranges_around_them():
    named, (scale, margin, offset, zero) = tunable_constants(parse("ce(8*(cosine - 0.3*y)) + (p - y)*(-2) + 0"))
    assert str(named) == "ce(c1*(cosine - c2*y)) + (p - y)*c3 + c4"
    assert (scale.default, scale.low, scale.high, scale.log) == (8.0, 2.0, 32.0, True)
    assert (margin.low, margin.high) == pytest.approx((0.075, 1.2))
    assert (offset.default, offset.low, offset.high, offset.log) == (-2.0, -8.0, -0.5, False)
    assert (zero.default, zero.low, zero.high) == (0.0, -1.0, 1.0)


def test_exponents_stay_within_the_bounds_of_the_language():
    _, (exponent,) = tunable_constants(parse("p**40"))
    assert (exponent.low, exponent.high) == (10.0, 64.0)
    named, constants = tunable_constants(parse("0.5*((p**10)**10)**10"))
    assert (str(named), len(constants)) == ("c1*((p**10)**10)**10", 1)


def test_a_formula_without_numbers_has_no_constants():
    assert tunable_constants(parse("ce(z)")) == (parse("ce(z)"), ())
