"""Losses that train alike are found by the angle between their gradients."""

import pytest
import torch

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.identity.kinship import SAME, directions, nearest_known
from lossearch.primitives.language.parser import parse


@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("7*ce(z) + 3", "cross_entropy"),
        ("lse_c(z) - at_target(z)", "cross_entropy"),
        ("sum_c((p - y)**2)/4", "mse"),
        ("-0.2*at_target((1 - p)**2*log(p))", "focal"),
        ("ce(30*cosine - 10.5*y)", "am_softmax"),
        ("ce(z) + 0*norm", "cross_entropy"),
    ],
)
def test_a_known_loss_is_recognised_up_to_a_factor_and_a_shift(formula, name):
    nearest = nearest_known(parse(formula))
    assert nearest.name == name
    assert nearest.cosine >= SAME


def test_the_cosine_is_that_of_the_gradients():
    """By hand: the gradient of ce(z) is p - y, that of ce(2*z) is twice softmax(2*z) - y."""
    from lossearch.primitives.identity.probe import _batch

    z, y = _batch()["logits"], _batch()["hard"]
    single, double = (torch.softmax(factor * z, 1) - y for factor in (1.0, 2.0))
    expected = float((single * double).sum() / single.norm() / double.norm())
    names = {name: loss for name, loss in CATALOG.items() if name == "cross_entropy"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lossearch.primitives.identity.kinship.CATALOG", names)
        nearest = nearest_known(parse("ce(2*z)"))
    assert nearest.cosine == pytest.approx(expected, abs=1e-12)
    assert 0.9 < expected < 1.0


def test_the_opposite_of_a_loss_is_not_near_it():
    nearest = nearest_known(parse("-ce(z)"))
    assert nearest is None or nearest.cosine < 0.5


def test_a_flat_formula_has_no_nearest_loss():
    assert nearest_known(parse("p - p")) is None


def test_a_loss_over_progress_or_the_prior_has_a_nearest_loss():
    assert nearest_known(parse("ce(z) + 1e-9*progress*mean_c(p)")).name == "cross_entropy"
    assert nearest_known(parse("2*ce(z + log(prior))")).name == "logit_adjustment"


def test_directions_are_those_of_gradients_in_the_same_points_for_every_formula():
    like, scaled, moving, margin, flat = directions(
        [parse(text) for text in ("ce(z)", "3*ce(z) - 2", "progress*ce(z)", "ce(cosine)", "sum_c(p)")]
    )
    assert float(like @ scaled) == pytest.approx(1.0)
    assert 0.5 < float(like @ moving) < 1.0 - 1e-3  # another factor at each moment
    assert abs(float(like @ margin)) < 0.99
    assert float(flat.norm()) < 1e-2
