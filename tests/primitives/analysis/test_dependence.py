"""What a formula depends on, by its structure."""

import pytest

from lossearch.primitives.analysis.targets import looks_at_target, moves
from lossearch.primitives.language.parser import parse


@pytest.mark.parametrize(
    ("text", "looks", "gradient"),
    [
        ("ce(z)", True, True),
        ("y*log(p)", True, True),
        ("ce(prior)", True, False),
        ("detach(p) - y", True, False),
        ("detach(p)*p", False, True),
        ("max_c(prior)*progress", False, False),
        ("at_target(norm)", True, True),
    ],
)
def test_target_and_predictions_are_seen_through_operators(text, looks, gradient):
    assert looks_at_target(parse(text)) is looks
    assert moves(parse(text)) is gradient


def test_only_the_names_that_are_asked_for_count():
    assert moves(parse("cosine*weight_norm"), frozenset({"weight_norm"}))
    assert not moves(parse("ce(cosine)"), frozenset({"weight_norm"}))
