"""Named losses: names, settings and formulas as users write them."""

import pytest

from lossearch.primitives.errors import UserError
from lossearch.runs.named_loss import named_loss, split_names


def test_a_known_loss_takes_settings():
    seed = named_loss("am_softmax( m=0.3, s = 15 )")
    assert (str(seed.formula), seed.name, seed.known) == (
        "ce(15*(cosine - 0.3*y))",
        "am_softmax(m=0.3, s=15)",
        "am_softmax",
    )
    assert seed.class_weights == "learned"


def test_a_name_or_formula_needs_no_settings():
    assert (named_loss("ngl").name, named_loss("ngl").settings) == ("ngl", ())
    assert (named_loss("ce(z) + 0.1*mean_c(p)").name, named_loss("ce(z)").known) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("am_softmax(margin=0.3)", "has no hyper-parameter"),
        ("am_softmax(m=9)", "m"),
        ("am_softmax(m=0.1, m=0.2)", "got m twice"),
        ("am_softmax(m=__import__)", "Expected settings like"),
        ("am_softmx(m=0.3)", "am_softmax"),
        ("am_softmax(m=nan)", "m"),
    ],
)
def test_invalid_settings_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        named_loss(text)


def test_names_are_separated_by_commas_outside_of_parentheses():
    assert split_names("cross_entropy, am_softmax(m=0.3,s=15),maximum(p, y)") == [
        "cross_entropy",
        "am_softmax(m=0.3,s=15)",
        "maximum(p, y)",
    ]
