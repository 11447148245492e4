"""Dependence on the target; programs on class indices compute the same as programs on one-hot targets."""

import pytest
import torch
from hypothesis import given, settings

from lossearch.primitives.analysis.targets import (
    NoHardForm,
    at_other_classes,
    at_target_class,
    looks_at_target,
    moves,
    varies_with_target,
)
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.identity.probe import bind_free_names
from lossearch.primitives.language.formula import Name, Number
from lossearch.primitives.language.numerics import log_softmax_c
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import loss_module
from lossearch.primitives.programs.lowering import lower
from tests.primitives.strategies import losses

CLASSES, SIZE, SAMPLES = 5, 4, 7


def responses(formula):
    """Return value and gradient on class indices, and on the same targets one-hot."""
    generator = torch.Generator().manual_seed(0)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=torch.float64)
    options = {"generator": generator} if formula.looks_at_embeddings else {}
    loss = loss_module(formula, num_classes=CLASSES, embedding_size=SIZE, prior=prior, **options).double()
    loss.set_progress(0.3)
    width = SIZE if formula.looks_at_embeddings else CLASSES
    inputs = torch.randn(SAMPLES, width, generator=generator, dtype=torch.float64)
    index = torch.arange(SAMPLES) % CLASSES
    for target in (index, torch.eye(CLASSES, dtype=torch.float64)[index]):
        trained = [parameter for parameter in loss.parameters() if parameter.requires_grad]
        points = [inputs.clone().requires_grad_(), *trained]
        value = loss(points[0], target)
        gradients = [torch.zeros(())]
        if value.requires_grad:
            gradients = torch.autograd.grad(value, points, allow_unused=True, materialize_grads=True)
        yield value.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def assert_alike(formula):
    by_index, one_hot = responses(formula)
    for ours, theirs in zip(by_index, one_hot, strict=True):
        assert ours.dtype is theirs.dtype
        size = float(theirs[torch.isfinite(theirs)].abs().max()) if torch.isfinite(theirs).any() else 1.0
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9 * max(size, 1e-300), equal_nan=True)


@settings(max_examples=300)
@given(losses(max_leaves=14))
def test_indices_and_one_hot_targets_give_the_same_value_and_gradient(formula):
    assert_alike(bind_free_names(formula))


@pytest.mark.parametrize("name", CATALOG)
def test_a_known_loss_is_the_same_on_indices_and_on_one_hot_targets(name):
    assert_alike(CATALOG[name].bound())


@pytest.mark.parametrize(
    "text",
    [
        "log(y)*p + ce(z)",
        "exp(30*y)*p",
        "exp(40*y)*p",
        "sum_c(y) + p",
        "mean_c(y*z)",
        "max_c(y*z)",
        "square(y) - p",
        "at_target(y)*ce(z)",
        "exp(at_target(y)) + ce(z)",
        "p/(y + p)",
        "y**p + (p + 1)**y + 2**y",
        "batch_mean(at_target(z))*ce(z*y)",
        "log(at_target(softmax_c(z - y)))",
        "log(max_c(p)) + log(1 - p)*y",
        "detach(y*z)*p",
        "lse_c(z - 3*y) + softmax_c(y) + weight_norm*y",
        "prior*y + at_target(prior) + ce(z + log(prior)*y)",
        "log(1 + exp(at_target(z))) + at_target(log(1 + exp(z)))",
    ],
)
def test_corners_of_the_language_are_the_same_on_indices_and_on_one_hot_targets(text):
    assert_alike(parse(text))


def test_a_margin_is_at_the_target_alone():
    formula = parse("cos(arccos(cosine) + 0.5*y)")
    assert str(at_other_classes(formula)) == "cos(arccos(cosine))"
    assert str(at_target_class(formula)) == "cos(arccos(cosine) + 0.5)"
    assert varies_with_target(formula)
    assert not varies_with_target(parse("ce(z) + at_target(z)"))


def test_products_with_the_target_vanish_where_it_is_zero():
    assert at_other_classes(parse("-(alpha*y*(1 - p)**gamma*log(p))", ["alpha", "gamma"])) == Number(0.0)
    assert at_target_class(parse("y*z")) == Name("z")


def test_a_number_that_depends_on_the_dtype_is_not_computed():
    with pytest.raises(NoHardForm):
        at_other_classes(parse("log(y)*p"))


def test_cross_entropy_by_index_needs_no_one_hot_target():
    for text in ("ce(z)", "-sum_c(y*log(p))", "-at_target(log(p))", "-log(at_target(p))"):
        program = lower(parse(text), hard=True)
        assert set(program.inputs) == {"z", "index"}
        assert [step.function for step in program.steps].count(log_softmax_c) == 1


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
def test_dependence_on_target_and_predictions_passes_through_operators(text, looks, gradient):
    assert looks_at_target(parse(text)) is looks
    assert moves(parse(text)) is gradient


def test_only_the_requested_names_count():
    assert moves(parse("cosine*weight_norm"), frozenset({"weight_norm"}))
    assert not moves(parse("ce(cosine)"), frozenset({"weight_norm"}))
