"""A loss over logits keeps the contract of torch.nn.CrossEntropyLoss; for ``ce(z)`` it is that loss."""

import copy
import itertools
import warnings
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lossearch
from lossearch.engine.export_check import load_exported
from lossearch.primitives.analysis.targets import linear_in_target
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import LogitLoss

SHAPES = [(7, 5), (1, 2), (3, 5, 4), (2, 5, 3, 4), (2, 3, 2, 2, 2)]
REDUCTIONS = ["mean", "sum", "none"]


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def indices(shape, seed=1):
    return torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=torch.Generator().manual_seed(seed))


def value_and_gradient(loss, logits, target):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    return value.detach(), gradient


def assert_like_torch(logits, target, **options):
    ours = value_and_gradient(lossearch.loss("ce(z)", **options), logits, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = value_and_gradient(nn.CrossEntropyLoss(**options), logits, target)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, equal_nan=True)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", ["none", "some", "all"])
def test_ce_of_z_is_torchs_cross_entropy_on_indices(shape, reduction, label_smoothing, weighted, ignored):
    target = indices(shape)
    if ignored != "none":
        target.view(-1)[: 1 if ignored == "some" else None] = -100
    weight = torch.rand(shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64) if weighted else None
    assert_like_torch(normal(*shape), target, reduction=reduction, label_smoothing=label_smoothing, weight=weight)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_ce_of_z_is_torchs_cross_entropy_on_probabilities(shape, reduction, label_smoothing, weighted):
    target = torch.softmax(normal(*shape, seed=3), 1)
    weight = torch.rand(shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64) if weighted else None
    assert_like_torch(normal(*shape), target, reduction=reduction, label_smoothing=label_smoothing, weight=weight)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ignore_index", [-100, -1, 0, 3, 255])
def test_any_ignored_index_acts_as_in_torch(reduction, ignore_index):
    target = torch.tensor([0, 1, 2, 3, 4, ignore_index if ignore_index in (-1, 255) else 3])
    assert_like_torch(normal(6, 5), target, reduction=reduction, ignore_index=ignore_index)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(0, 5), (0, 5, 3), (2, 5, 0)], ids=str)
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_an_empty_batch_acts_as_in_torch(shape, reduction, kind):
    target = torch.zeros(shape[0], *shape[2:], dtype=torch.long) if kind == "indices" else normal(*shape)
    assert_like_torch(normal(*shape), target, reduction=reduction)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64], ids=str)
def test_class_indices_may_have_any_integer_dtype(dtype):
    logits, target = normal(4, 5), torch.tensor([0, 1, 4, 2])
    torch.testing.assert_close(lossearch.loss("ce(z)")(logits, target.to(dtype)), F.cross_entropy(logits, target))


@pytest.mark.parametrize("name", ["focal", "ngl", "mse", "poly1", "generalized_cross_entropy", "nabaei_sce"])
def test_the_weight_of_a_class_rescales_its_samples_of_any_loss(name):
    logits, target = normal(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    weight = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0], dtype=torch.float64)
    plain = lossearch.loss(name, reduction="none")(logits, target)
    weighted = lossearch.loss(name, reduction="none", weight=weight)(logits, target)
    torch.testing.assert_close(weighted, weight[target] * plain)
    mean = lossearch.loss(name, weight=weight)(logits, target)
    torch.testing.assert_close(mean, (weight[target] * plain).sum() / weight[target].sum())
    one_hot = F.one_hot(target, 5).double()
    torch.testing.assert_close(lossearch.loss(name, reduction="none", weight=weight)(logits, one_hot), weighted)


@pytest.mark.parametrize(
    ("text", "linear"),
    [
        ("ce(z)", True),
        ("2*ce(z) - at_target(p)/3", True),
        ("-sum_c(y*log(p))", True),
        ("mean_c(p*y)", True),
        ("-sum_c(y*(1 - p)**2*log(p))", True),
        ("ce(z) + 1", False),
        ("ce(z - y)", False),
        ("square(y - p)", False),
        ("at_target(y)", False),
        ("mean_c(p)", False),
        ("ce(z)*at_target(z)", False),
        ("exp(ce(z))", False),
    ],
)
def test_losses_that_are_linear_in_the_target_are_recognised(text, linear):
    assert linear_in_target(parse(text)) is linear


def test_a_linear_loss_mixes_as_its_targets_do():
    logits, a, b = normal(4, 5), torch.eye(5).double()[[0, 1, 2, 3]], torch.eye(5).double()[[4, 0, 0, 1]]
    for text in ("ce(z)", "2*ce(z) - at_target(p)/3", "-sum_c(y*(1 - p)**2*log(p))", "mean_c(p*y)"):
        loss = LogitLoss(parse(text), reduction="none")
        torch.testing.assert_close(loss(logits, 0.3 * a + 0.7 * b), 0.3 * loss(logits, a) + 0.7 * loss(logits, b))


MISTAKES = [
    (torch.zeros(4), torch.zeros(4, dtype=torch.long), r"Expected logits of shape \[batch, classes, ...\], got \[4\]"),
    (torch.zeros(4, 3), torch.zeros(3, dtype=torch.long), r"Expected class indices of shape \[4\], got \[3\]"),
    (torch.zeros(4, 3), torch.zeros(4, 1, dtype=torch.long), r"Expected class indices of shape \[4\], got \[4, 1\]"),
    (torch.zeros(4, 3), torch.zeros(4, 2), r"Expected target probabilities of shape \[4, 3\], got \[4, 2\]"),
    (torch.zeros(4, 3), torch.zeros(4), r"Class indices are integers: convert them with .long\(\)"),
    (torch.zeros(4, 3).long(), torch.zeros(4).long(), "Expected floating-point logits, got torch.int64"),
    (
        torch.zeros(4, 3),
        torch.tensor([0, 1, 2, 3]),
        r"Expected class indices from 0 to 2, .* got 3\. Number the classes",
    ),
    (
        torch.zeros(4, 3),
        torch.tensor([0, 1, 2, -1]),
        "Expected class indices from 0 to 2, or ignore_index -100, got -1",
    ),
    (torch.zeros(2, 3), torch.tensor([True, False]), "Expected class indices or probabilities, got torch.bool"),
    ([[0.0, 1.0]], torch.tensor([0]), "Expected logits to be a tensor, got list"),
    (torch.zeros(2, 3), [0, 1], "Expected the target to be a tensor, got list"),
    (torch.zeros(1, 3, 2), torch.tensor([[0, 99]]), "Expected class indices from 0 to 2, or ignore_index -100, got 99"),
]


@pytest.mark.parametrize(("logits", "target", "message"), MISTAKES)
def test_wrong_inputs_are_refused_with_what_to_do(logits, target, message):
    with pytest.raises((ValueError, TypeError), match=message):
        lossearch.loss("ce(z)")(logits, target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": "avg"}, "Expected reduction to be mean, sum or none, got 'avg'"),
        ({"weight": "a"}, "Expected weight, one finite number for each class"),
        ({"ignore_index": 2**70}, "Expected ignore_index to be a whole number of 64 bits"),
        ({"ignore_index": 1.5}, "Expected ignore_index to be a whole number of 64 bits, got 1.5"),
        ({"label_smoothing": 1.5}, "Expected label_smoothing between 0 and 1, got 1.5"),
        ({"label_smoothing": "a"}, "Expected label_smoothing between 0 and 1, got 'a'"),
        ({"weight": torch.zeros(3, 3)}, r"Expected weight, one finite number for each class \[classes\]"),
        ({"weight": torch.tensor([1.0, float("nan")])}, "Expected weight, one finite number for each class"),
        ({"class_weights": "pedcc"}, "class_weights is for losses over embeddings"),
        ({"prior": torch.tensor([0.5, 0.9])}, "Expected prior, class frequencies .* that sum to 1"),
        ({"prior": [0.3, 0.3, 0.4], "num_classes": 2}, r"Expected prior of shape \[2\], one number for each class"),
        ({"num_classes": 2.5}, "Expected num_classes to be a whole number above 0, got 2.5"),
        ({"scale": float("nan")}, "Expected scale to be a finite number, got nan"),
    ],
)
def test_wrong_options_are_refused_in_the_constructor(options, message):
    with pytest.raises(ValueError, match=message):
        lossearch.loss("ce(z + log(prior))" if "prior" in options else "ce(z)", **options)


@pytest.mark.parametrize("name", ["ce(z)", "focal"])
def test_class_156_of_a_byte_is_not_ignored(name):
    """-100 is 156 in eight bits."""
    logits, target = normal(2, 200), torch.tensor([156, 3])
    ours = value_and_gradient(lossearch.loss(name), logits, target.to(torch.uint8))
    for mine, other in zip(ours, value_and_gradient(lossearch.loss(name), logits, target), strict=True):
        assert torch.equal(mine, other)


def test_probabilities_beside_an_ignored_class_are_refused_as_torch_does():
    probabilities = torch.full((4, 3), 1.0 / 3.0)
    with pytest.raises(RuntimeError, match="ignore_index is not supported for floating point target"):
        nn.CrossEntropyLoss(ignore_index=2)(torch.zeros(4, 3), probabilities)
    with pytest.raises(ValueError, match="Expected class indices beside ignore_index 2, got probabilities"):
        lossearch.loss("ce(z)", ignore_index=2)(torch.zeros(4, 3), probabilities)


def test_a_weight_or_prior_of_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match=r"Expected weight of shape \[3\], one number for each class, got \[2\]"):
        lossearch.loss("ce(z)", weight=torch.ones(2))(torch.zeros(4, 3), torch.zeros(4).long())
    with pytest.raises(ValueError, match=r"Expected prior of shape \[3\], one number for each class, got \[2\]"):
        lossearch.loss("logit_adjustment", prior=torch.ones(2) / 2)(torch.zeros(4, 3), torch.zeros(4).long())
    with pytest.raises(ValueError, match=r"Expected prior of shape \[4\], one number for each class, got \[2\]"):
        lossearch.loss("ldam", prior=torch.ones(2) / 2, num_classes=4, embedding_size=3)


@pytest.mark.parametrize(("dtype", "name"), list(itertools.product([torch.bfloat16, torch.float16], ["ce(z)", "ngl"])))
def test_half_precision_is_computed_in_float32(dtype, name):
    loss, logits, target = lossearch.loss(name), normal(6, 5, dtype=torch.float32), torch.arange(6) % 5
    expected, unrounded = loss(logits.to(dtype).float(), target), loss(logits, target)
    value = loss(logits.to(dtype), target)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(logits, target), unrounded)


@pytest.mark.parametrize("exported", [False, True])
def test_numbers_of_numpy_and_trained_tensors_are_taken_as_options(exported, tmp_path):
    file = tmp_path / "loss.py"
    lossearch.export("focal", file)
    build = load_exported(file).Loss if exported else partial(lossearch.loss, "focal")
    logits, target = normal(6, 3), torch.arange(6) % 3
    plain = build(weight=torch.ones(3), ignore_index=1, label_smoothing=0.25)
    weight = nn.Parameter(torch.ones(3))
    loss = copy.deepcopy(build(weight=weight, ignore_index=np.int64(1), label_smoothing=np.float64(0.25)))
    for ours, theirs in zip(*(value_and_gradient(one, logits, target) for one in (loss, plain)), strict=True):
        assert torch.equal(ours, theirs)
    assert weight.grad is None
    assert (type(loss.ignore_index), type(loss.label_smoothing)) == (int, float)


@pytest.mark.parametrize(
    "weight",
    [torch.ones(3, 3), torch.ones(5).to_sparse(), torch.ones(5, device="meta"), torch.ones(2, 2, 2)],
    ids=lambda weight: f"{weight.device}, {list(weight.shape)}",
)
def test_tensors_that_are_no_vector_of_numbers_are_refused_in_one_line(weight):
    for option in ("weight", "gamma"):
        with pytest.raises(ValueError, match=f"^Expected {option}[^\n]*$"):
            lossearch.loss("focal", **{option: weight})


@pytest.mark.parametrize("sizes", [(2**31 - 1, 2**31 - 1), (10**6, 10**5), (2**31 - 1, 5)])
def test_class_weights_that_fit_no_machine_are_refused(sizes):
    with pytest.raises(ValueError, match=r"^Expected class weights of at most 8,589,934,592 numbers, got [0-9,]+\.$"):
        lossearch.loss("arcface", num_classes=sizes[0], embedding_size=sizes[1])
