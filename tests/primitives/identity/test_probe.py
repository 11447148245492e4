"""Responses on the probe equal those that autograd computes from loss modules."""

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.identity import probe
from lossearch.primitives.identity.probe import (
    CLASSES,
    PROGRESS,
    SIZE,
    bind_free_names,
    compute_responses,
    same_on_probe,
)
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, loss_module
from tests.primitives.strategies import losses

NEARLY_ONE = 1.0 + 1e-14


def by_autograd(formula, target):
    """Return values and gradient of the formula's module."""
    batch = probe._batch()
    loss = loss_module(
        formula, num_classes=CLASSES, embedding_size=SIZE, reduction="none", prior=batch["prior"]
    ).double()
    for name, parameter in loss.named_parameters():
        parameter.data.copy_(batch[name])
    responses = [at(loss, moment, target) for moment in (PROGRESS if "progress" in formula.names else PROGRESS[:1])]
    return tuple(map(torch.cat, zip(*responses, strict=True)))


def at(loss, progress, target):
    batch = probe._batch()
    loss.set_progress(progress)
    inputs = batch["embeddings" if isinstance(loss, EmbeddingLoss) else "logits"].clone()
    inputs = (inputs * NEARLY_ONE if target == "nearly_mixed" else inputs).requires_grad_()
    trained = {name: parameter for name, parameter in loss.named_parameters() if parameter.requires_grad}
    points = {"inputs": inputs, **trained}
    values = loss(inputs, batch[target])
    gradients = {name: torch.zeros_like(point) for name, point in points.items()}
    if values.requires_grad:
        slopes = torch.autograd.grad(values.mean(), list(points.values()), allow_unused=True, materialize_grads=True)
        gradients = dict(zip(points, slopes, strict=True))
    names = ["inputs", *(["weight", "centers"] if isinstance(loss, EmbeddingLoss) else [])]
    slopes = [gradients[name] if name in gradients else torch.zeros_like(batch[name]) for name in names]
    return values.detach(), torch.cat([slope.flatten() for slope in slopes])


def require_close(ours, theirs, others):
    """Require the same finite numbers, and a difference no larger than that of autograd on a rounded batch."""
    for ours_, other, noisy in zip(ours, theirs, others, strict=True):
        finite = torch.isfinite(other) & torch.isfinite(noisy)
        size = float(other[finite].abs().max()) if finite.any() else 0.0
        noise = float((other - noisy)[finite].abs().max()) if finite.any() else 0.0
        assert ours_.shape == other.shape
        torch.testing.assert_close(ours_[finite], other[finite], rtol=1e-8, atol=max(1e-11 * size, 10 * noise, 1e-15))


@pytest.mark.parametrize("target", ["hard", "mixed"])
def test_every_known_loss_together(target):
    formulas = [loss.bound() for loss in CATALOG.values()]
    for formula, ours in zip(formulas, compute_responses(formulas, target), strict=True):
        theirs = by_autograd(formula, target)
        require_close(ours, theirs, theirs)


@pytest.mark.parametrize(
    "text",
    [
        "at_target(ce(z)) + at_target(norm)*mean_c(z*norm)",
        "ce(norm*cosine) + sum_c(y*norm) + log(at_target(p))*max_c(dist2)",
        "batch_mean(norm)*ce(z) + batch_mean(at_target(weight_norm))**2",
        "progress*ce(z) + (1 - progress)*log(1 - p)*prior/num_classes",
        "log(at_target(softmax_c(cosine))) + p**2 + p**(-2) + (p + 1)**y",
        "norm",
        "weight_norm",
        "pi*y",
    ],
)
def test_every_kind_of_widening(text):
    formula = parse(text)
    for target in ("hard", "mixed"):
        theirs = by_autograd(formula, target)
        require_close(compute_responses([parse("ce(z)"), formula], target)[1], theirs, theirs)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(losses())
@example(parse("430*p"))  # its gradient is zero up to rounding
def test_random_formulas(formula):
    formula = bind_free_names(formula)
    require_close(compute_responses([formula])[0], by_autograd(formula, "mixed"), by_autograd(formula, "nearly_mixed"))


@pytest.fixture(autouse=True)
def _nearly_the_same_target():
    probe._batch()["nearly_mixed"] = probe._batch()["mixed"] * NEARLY_ONE


def test_only_equal_formulas_are_the_same_on_the_probe():
    assert same_on_probe(parse("ce(z)"), parse("lse_c(z) - at_target(z)"))
    assert not same_on_probe(parse("ce(z)"), parse("2*ce(z)"))
    assert not same_on_probe(parse("ce(z)"), parse("ce(cosine)"))
    infinite = parse("square(square(exp(1000*max_c(y))))*p")
    assert not same_on_probe(infinite, infinite)
