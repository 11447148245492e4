"""Parts of formulas that are undefined whatever the predictions."""

import pytest

from lossearch.primitives.analysis.domains import find_undefined_part
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.parser import parse


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ce(z)/0", "ce(z)/0 divides by 0"),
        ("ce(z)/(1 - 1)", "ce(z)/(1 - 1) divides by 0"),
        ("p + z*log(1 - 2)", "log(1 - 2) takes the logarithm of -1"),
        ("log10(0)*p", "log10(0) takes the logarithm of 0"),
        ("sqrt(0 - 2)*ce(z)", "sqrt(0 - 2) takes the square root of -2"),
        ("(0 - 2)**0.5*p", "(0 - 2)**0.5 has no real value: -2 to the power 0.5"),
        ("arccos(1.5)*p", "arccos(1.5) has no real value at 1.5"),
        ("log(p)/z + sqrt(2)*p**-1 + (0 - 2)**2", None),
    ],
)
def test_a_part_that_is_undefined_for_all_predictions_is_named(text, reason):
    assert find_undefined_part(parse(text)) == reason


def test_every_known_loss_is_defined():
    assert {name: find_undefined_part(loss.bound()) for name, loss in CATALOG.items()} == dict.fromkeys(CATALOG)
