"""Degenerate input gives the right value, or an error, or a value that is plainly no loss; never a quiet wrong one."""

import math

import pytest
import torch
import torch.nn.functional as F

import lossearch
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language import numerics
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import LogitLoss

CLASSES = 5
TARGET = torch.tensor([0, 1, 2, 3])
OVER_LOGITS = [name for name, loss in CATALOG.items() if not loss.formula.looks_at_embeddings]
OVER_COSINES = [name for name, loss in CATALOG.items() if "cosine" in loss.formula.names]


def module(name, **options):
    formula = CATALOG[name].formula
    if "prior" in formula.names:
        options["prior"] = [0.1, 0.2, 0.3, 0.15, 0.25]
    if formula.looks_at_embeddings:
        options |= {"embedding_size": 4, "num_classes": CLASSES, "generator": torch.Generator().manual_seed(0)}
    return lossearch.loss(name, reduction="none", **options)


#: Losses whose value at a masked class is infinite: they look at its logit or at log(p) with a weight above 0.
INFINITE = {"baikal", "label_smoothing", "large_margin_cross_entropy", "mam_softmax", "unhinged"}


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", OVER_LOGITS)
def test_a_class_that_is_masked_by_minus_infinity_counts_as_impossible(name, soft):
    logits = torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(1))
    masked, low = logits.clone(), logits.double()
    masked[:, 4], low[:, 4] = -math.inf, -1e6  # the softmax is exactly 0
    masked.requires_grad_(), low.requires_grad_()
    target = F.one_hot(TARGET, CLASSES).double() if soft else TARGET
    value, expected = module(name)(masked, target.float() if soft else target), module(name)(low, target)
    if name in INFINITE:
        assert not (value.abs() < 1e15).any()
        return
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)
    (slope,), (expected_slope,) = torch.autograd.grad(value.sum(), masked), torch.autograd.grad(expected.sum(), low)
    torch.testing.assert_close(slope.double(), expected_slope, rtol=1e-4, atol=1e-5)


def test_the_entropy_of_masked_classes_is_that_of_the_others():
    logits = torch.tensor([[0.3, -1.0, 2.0, -math.inf]])
    p = torch.softmax(logits[:, :3].double(), 1)
    expected = -p[0, 2].log() + 0.1 * (p * p.log()).sum()
    assert float(lossearch.loss("maximum_entropy")(logits, torch.tensor([2]))) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", [name for name, loss in CATALOG.items() if "prior" in loss.formula.names])
def test_a_class_of_frequency_0_is_refused(name):
    sizes = {"num_classes": 3, "embedding_size": 2} if CATALOG[name].formula.looks_at_embeddings else {}
    with pytest.raises(ValueError, match=r"Expected prior, class frequencies \[classes\] above 0, got 0 for class 1"):
        lossearch.loss(name, prior=[0.5, 0.0, 0.5], **sizes)


@pytest.mark.parametrize("name", OVER_COSINES)
def test_embeddings_whose_norm_overflows_are_no_zeros(name):
    assert not torch.isfinite(module(name)(torch.full((4, 4), 1e30), TARGET)).any()


@pytest.mark.parametrize("name", CATALOG)
def test_a_batch_of_ignored_samples_sums_to_0(name):
    loss = module(name)
    inputs = torch.full((4, 4 if CATALOG[name].formula.looks_at_embeddings else CLASSES), math.nan)
    assert torch.equal(loss(inputs, torch.full((4,), -100)), torch.zeros(4))


def exact_distances(embeddings, centers):
    return (embeddings.double()[:, None] - centers.double()).square().sum(2)


@pytest.mark.parametrize("offset", [0.0, 100.0, 1e4])
def test_distances_far_from_the_origin_keep_their_digits_and_gradients(offset):
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(6, 8, generator=generator) + offset
    embeddings = (centers[torch.arange(100) % 6] + 0.1 * torch.randn(100, 8, generator=generator)).requires_grad_()
    expected = exact_distances(embeddings, centers)
    torch.testing.assert_close(numerics.squared_distance(embeddings, centers).double(), expected, rtol=1e-3, atol=1e-4)
    index = (torch.arange(100) % 6)[:, None]
    at_target = numerics.squared_distance_at_target(embeddings, centers, index)
    torch.testing.assert_close(at_target.double(), expected.gather(1, index), rtol=1e-5, atol=0.0)
    (slope,) = torch.autograd.grad(numerics.squared_distance(embeddings, centers).gather(1, index).sum(), embeddings)
    torch.testing.assert_close(slope, 2.0 * (embeddings - centers[index[:, 0]]).detach(), rtol=1e-3, atol=1e-3)


#: Ways to write the same losses.
SPELLINGS = [
    ["ce(z)", "-sum_c(y*log(p))", "-at_target(log(p))", "ce(z) + 0*(1 - at_target(p))", "-log(exp(-ce(z)))"],
    ["ce(z) + 2*(1 - at_target(p))", "sum_c(y*(2*(1 - p) - log(p)))", "ce(z) - 2*at_target(p) + 2"],
    ["mean_c(square(p - y))", "mean_c(p*p - 2*p*y + y*y)", "square(y - p)"],
]


@pytest.mark.parametrize("spellings", SPELLINGS, ids=str)
def test_a_class_weight_depends_on_the_loss_and_not_on_its_spelling(spellings):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    target = torch.softmax(torch.randn(6, 3, generator=generator, dtype=torch.float64), 1)
    weight = torch.tensor([0.2, 1.0, 4.0])
    values = [LogitLoss(parse(text), weight=weight, reduction="none")(logits, target) for text in spellings]
    for value in values[1:]:
        torch.testing.assert_close(value, values[0])
    if spellings[0] == "ce(z)":
        torch.testing.assert_close(values[0], F.cross_entropy(logits, target, weight.double(), reduction="none"))


def test_a_sample_whose_classes_have_no_weight_has_the_value_0():
    loss = lossearch.loss("mse", weight=[0.0, 0.0, 1.0], reduction="none")
    assert float(loss(torch.zeros(1, 3), torch.tensor([[0.5, 0.5, 0.0]]))) == 0.0


@pytest.mark.parametrize("values", [[1j, 1.0], [True, False], ["1", "2"], "12", [math.nan, 1.0], [1e300, 1.0], None])
@pytest.mark.parametrize("name", ["focal", "arcface"])
def test_a_class_weight_that_is_no_finite_number_is_refused(name, values):
    values = torch.tensor([1 + 1j, 2.0]) if values is None else values
    with pytest.raises(ValueError, match="Expected weight, one finite number for each class"):
        lossearch.loss(name, weight=values, num_classes=2, **({"embedding_size": 2} if name == "arcface" else {}))


def test_a_class_weight_rescales_a_loss_over_embeddings():
    options = {"num_classes": 3, "embedding_size": 2, "reduction": "none"}
    plain, weighted = (lossearch.loss("arcface", weight=weight, **options) for weight in (None, [1, 2, 3]))
    weighted.weight.data.copy_(plain.weight)
    embeddings, target = torch.randn(3, 2), torch.tensor([2, 0, 1])
    torch.testing.assert_close(weighted(embeddings, target), torch.tensor([3.0, 1.0, 2.0]) * plain(embeddings, target))
    weighted.reduction = "mean"
    torch.testing.assert_close(
        weighted(embeddings, target), (torch.tensor([3.0, 1.0, 2.0]) * plain(embeddings, target)).sum() / 6.0
    )
