import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.formula import FormulaError
from lossearch.primitives.language.parser import parse
from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, LogitLoss, loss_module
from lossearch.primitives.programs.lowering import lower, lower_logits
from tests.primitives.strategies import formulas


def normal(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


SHAPES = [(7, 5), (3, 5, 4), (2, 5, 3, 4)]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ce_of_z_is_torchs_cross_entropy_on_indices(shape, reduction):
    logits = normal(*shape)
    target = torch.randint(0, 5, (shape[0], *shape[2:]), generator=torch.Generator().manual_seed(1))
    target.view(-1)[0] = -100
    ours = LogitLoss(parse("ce(z)"), reduction=reduction)(logits, target)
    torch.testing.assert_close(ours, F.cross_entropy(logits, target, reduction=reduction))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ce_of_z_is_torchs_cross_entropy_on_probabilities(shape, reduction):
    logits, target = normal(*shape), torch.softmax(normal(*shape).flip(0), 1)
    ours = LogitLoss(parse("ce(z)"), reduction=reduction)(logits, target)
    torch.testing.assert_close(ours, F.cross_entropy(logits, target, reduction=reduction))


def test_another_ignored_index_is_respected():
    logits, target = normal(4, 5), torch.tensor([0, 255, 3, 255])
    ours = LogitLoss(parse("ce(z)"), ignore_index=255)(logits, target)
    torch.testing.assert_close(ours, F.cross_entropy(logits, target, ignore_index=255))


@pytest.mark.parametrize("text", ["ce(z)", "square(log(at_target(p)))", "batch_mean(ce(z))", "ce(z) + ce(4*cosine)"])
@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), 1e30])
def test_an_ignored_sample_may_hold_anything(text, rubbish):
    loss = loss_module(parse(text), num_classes=5, embedding_size=5)
    inputs, target = normal(4, 5, dtype=torch.float32), torch.tensor([0, -100, 3, 1])
    inputs[1] = rubbish
    inputs.requires_grad_()
    value = loss(inputs, target)
    value.backward()
    kept = [0, 2, 3]
    torch.testing.assert_close(value, loss(inputs[kept], target[kept]))
    assert torch.equal(inputs.grad[1], torch.zeros(5))
    assert torch.isfinite(inputs.grad).all()


def test_a_class_valued_formula_is_averaged_over_the_classes():
    logits, target = normal(6, 5), torch.arange(6) % 5
    ours = LogitLoss(parse("square(p - y)"))(logits, target)
    torch.testing.assert_close(ours, F.mse_loss(torch.softmax(logits, 1), F.one_hot(target, 5).double()))


def test_batch_mean_leaves_out_ignored_samples():
    logits, target = normal(4, 5), torch.tensor([0, -100, 3, 1])
    loss = LogitLoss(parse("batch_mean(ce(z))"))
    torch.testing.assert_close(loss(logits, target), F.cross_entropy(logits, target))


def test_logarithms_are_stable_at_confident_predictions():
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]], requires_grad=True)
    value = LogitLoss(parse("-at_target(log(p)) - mean_c(log(1 - p))"))(logits, torch.tensor([0, 0]))
    value.backward()
    # -log p_t is 0 and 200; -log(1 - p) is 200 - log 2 for the likeliest class, 0 for the others
    assert value.item() == pytest.approx((0 + 200) / 2 + (200 - 0.6931472) / 3, rel=1e-5)
    assert torch.isfinite(logits.grad).all()


def test_log_of_one_plus_exp_is_a_softplus():
    logits = torch.tensor([[1e4, -1e4]])
    value = LogitLoss(parse("sum_c(log(1 + exp(z)))"))(logits, torch.tensor([0]))
    assert value.item() == pytest.approx(1e4)


@pytest.mark.parametrize(
    "text", ["exp(pi)*p", "sin(pi)*p + ce(z)", "minimum(pi, 3)*ce(z)", "detach(pi)*ce(z)", "num_classes**p", "pi"]
)
def test_scalars_may_take_any_place_of_the_language(text):
    assert torch.isfinite(LogitLoss(parse(text))(normal(3, 5), torch.tensor([0, 1, 2])))


def test_a_constant_formula_is_scaled_like_any_other():
    value = LogitLoss(parse("3"), scale=2.0, reduction="none")(normal(2, 5), torch.tensor([0, -100]))
    assert value.tolist() == [6.0, 0.0]


def test_half_precision_is_computed_in_float32():
    loss = LogitLoss(parse("ce(z)"))
    logits = normal(6, 5, dtype=torch.float32)
    target = torch.arange(6) % 5
    for dtype in (torch.bfloat16, torch.float16):
        assert loss(logits.to(dtype), target).dtype is torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(logits, target), F.cross_entropy(logits, target))


def test_progress_changes_the_loss():
    loss = LogitLoss(parse("(1 - progress)*ce(z)"))
    logits, target = normal(3, 4), torch.tensor([0, 1, 2])
    whole = loss(logits, target)
    loss.set_progress(0.75)
    torch.testing.assert_close(loss(logits, target), 0.25 * whole)
    with pytest.raises(ValueError, match=r"Expected progress between 0 and 1, got 2"):
        loss.set_progress(2.0)


def test_the_prior_is_given_and_used():
    prior = torch.tensor([0.5, 0.3, 0.2])
    logits, target = normal(4, 3), torch.tensor([0, 1, 2, 2])
    ours = LogitLoss(parse("ce(z + log(prior))"), prior=prior)(logits, target)
    torch.testing.assert_close(ours, F.cross_entropy(logits + prior.double().log(), target), rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=r"^Expected prior=\.\.\., the class frequencies \[classes\]"):
        LogitLoss(parse("ce(z + log(prior))"))


def test_num_classes_is_the_number_of_classes():
    logits, target = normal(4, 3), torch.tensor([0, 1, 2, 2])
    value = LogitLoss(parse("ce(z)/log(num_classes)"))(logits, target)
    torch.testing.assert_close(
        value, F.cross_entropy(logits, target) / torch.tensor(3.0).log().double(), rtol=1e-6, atol=0
    )


def embedding_loss(text, **options):
    generator = torch.Generator().manual_seed(0)
    return EmbeddingLoss(parse(text), num_classes=5, embedding_size=4, generator=generator, **options).double()


def test_an_embedding_loss_owns_class_weights_and_scores_with_its_features():
    embeddings = normal(6, 4)
    by_cosine, by_product = embedding_loss("ce(8*(cosine - 0.2*y))"), embedding_loss("ce(z) + 0.1*norm")
    assert [name for name, _ in by_cosine.named_parameters()] == ["weight"]
    cosine = F.cosine_similarity(embeddings[:, None], by_cosine.weight[None], dim=2)
    torch.testing.assert_close(by_cosine.get_logits(embeddings), 8.0 * cosine)
    torch.testing.assert_close(by_product.get_logits(embeddings), embeddings @ by_product.weight.T)


def test_centers_are_a_parameter_where_the_formula_looks_at_distances():
    loss, embeddings = embedding_loss("at_target(dist2) - mean_c(dist2)"), normal(6, 4)
    assert [name for name, _ in loss.named_parameters()] == ["centers"]
    distances = (embeddings[:, None] - loss.centers[None]).square().sum(2)
    torch.testing.assert_close(loss.get_logits(embeddings), -distances)
    target = torch.arange(6) % 5
    expected = distances[torch.arange(6), target] - distances.mean(1)
    torch.testing.assert_close(loss(embeddings, target), expected.mean())


def test_norms_are_those_of_embeddings_and_class_weights():
    loss, embeddings = embedding_loss("norm + at_target(weight_norm)", reduction="none"), normal(6, 4)
    target = torch.arange(6) % 5
    expected = embeddings.norm(dim=1) + loss.weight.norm(dim=1)[target]
    torch.testing.assert_close(loss(embeddings, target), expected)


def test_embeddings_at_zero_have_a_finite_gradient():
    loss = embedding_loss("ce(30*cos(arccos(cosine) + 0.5*y)) + norm")
    embeddings = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    loss(embeddings, torch.tensor([0, 1, 2])).backward()
    assert torch.isfinite(embeddings.grad).all()


@pytest.mark.parametrize("text", ["exp(2.4092 - p*(1 + y)) - cos(cos(sin(p)))", "ce(8*(cosine - 0.2*y))"])
def test_modules_are_copied_and_pickled(text):
    loss = loss_module(parse(text), num_classes=5, embedding_size=4)
    inputs, target = normal(6, 4 if loss.formula.looks_at_embeddings else 5, dtype=torch.float32), torch.arange(6) % 5
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(inputs, target), loss(inputs, target))


def test_repr_shows_formula_and_hyperparameters():
    loss = loss_module(
        parse("ce(s*(cosine - m*y))", ["s", "m"]), {"s": 30.0, "m": 0.35}, num_classes=9, embedding_size=8
    )
    assert "'ce(s*(cosine - m*y))', s=30, m=0.35, reduction='mean', num_classes=9, embedding_size=8" in repr(loss)


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (
            torch.zeros(4),
            torch.zeros(4, dtype=torch.long),
            r"Expected logits of shape \[batch, classes, ...\], got \[4\]",
        ),
        (torch.zeros(4, 3), torch.zeros(3, dtype=torch.long), r"Expected class indices of shape \[4\], got \[3\]"),
        (torch.zeros(4, 3), torch.zeros(4, 2), r"Expected target probabilities of shape \[4, 3\], got \[4, 2\]"),
    ],
)
def test_wrong_shapes_are_refused(logits, target, message):
    with pytest.raises(ValueError, match=message):
        LogitLoss(parse("ce(z)"))(logits, target)


def test_numbers_of_numpy_are_numbers():
    loss = CATALOG["arcface"].module(num_classes=np.int64(3), embedding_size=np.int32(4), m=np.float32(0.5))
    assert loss.weight.shape == (3, 4)
    assert loss.hyperparameters["m"] == 0.5


def test_wrong_constructions_are_refused():
    with pytest.raises(ValueError, match="The formula has no hyper-parameter 'm'"):
        LogitLoss(parse("ce(z)"), {"m": 1.0})
    with pytest.raises(ValueError, match=r"Expected progress between 0 and 1, got 'a'"):
        LogitLoss(parse("ce(z)")).set_progress("a")
    with pytest.raises(ValueError, match="Expected reduction to be mean, sum or none, got 'avg'"):
        LogitLoss(parse("ce(z)"), reduction="avg")
    with pytest.raises(ValueError, match="got none for m"):
        LogitLoss(parse("ce(z) + m", ["m"]))
    with pytest.raises(FormulaError, match="expected an EmbeddingLoss"):
        LogitLoss(parse("ce(cosine)"))
    with pytest.raises(ValueError, match=r"num_classes=\.\.\. and embedding_size=\.\.\."):
        loss_module(parse("ce(cosine)"))
    with pytest.raises(ValueError, match="Expected num_classes to be a whole number above 0, got 0"):
        loss_module(parse("ce(cosine)"), num_classes=0, embedding_size=3)
    with pytest.raises(ValueError, match=r"Expected embeddings of shape \[batch, 4\], got \[2, 3\]"):
        embedding_loss("ce(cosine)")(torch.zeros(2, 3), torch.tensor([0, 1]))


def over_logits(formula):
    return not formula.looks_at_embeddings


def prior_of(classes):
    return torch.arange(1.0, classes + 1.0, dtype=torch.float64) / sum(range(classes + 1))


@settings(max_examples=200)
@given(formulas(max_leaves=10).filter(over_logits))
def test_a_pixel_is_a_sample_like_any_other(formula):
    """Logits [batch, classes, height, width] give the same as their pixels [pixels, classes]."""
    loss = LogitLoss(formula, reduction="none", prior=prior_of(4))
    logits, index = normal(2, 4, 3, 2), torch.arange(12).reshape(2, 3, 2) % 4
    values = loss(logits, index)
    assert values.shape == (2, 3, 2)
    pixels = loss(logits.movedim(1, -1).reshape(12, 4), index.reshape(12))
    torch.testing.assert_close(values.reshape(12), pixels, equal_nan=True, rtol=1e-6, atol=1e-9)


@settings(max_examples=200)
@given(formulas(max_leaves=10))
def test_a_programs_value_has_the_formulas_shape_or_a_smaller_one(formula):
    """A Scalar has one number, a Sample at most one per sample, a Class at most one per sample and class."""
    samples, classes, size = 3, 4, 2
    inputs = {
        "z": normal(samples, classes),
        "y": torch.eye(classes, dtype=torch.float64)[:samples],
        "embeddings": normal(samples, size),
        "weight": normal(classes, size),
        "centers": normal(classes, size),
        "counted": torch.ones(samples, 1, dtype=torch.float64),
        "prior": prior_of(classes).reshape(1, -1),
        "num_classes": torch.tensor(4.0, dtype=torch.float64),
        "progress": torch.tensor(0.5, dtype=torch.float64),
    }
    largest = {Shape.SCALAR: (1, 1), Shape.SAMPLE: (samples, 1), Shape.CLASS: (samples, classes)}[formula.shape]
    value = torch.as_tensor(lower_logits(formula).run(inputs))
    assert torch.broadcast_shapes(value.shape, largest) == largest
    if formula.shape is Shape.CLASS:  # a loss is one number for each sample
        mean = torch.as_tensor(lower(formula).run(inputs))
        assert torch.broadcast_shapes(mean.shape, (samples, 1)) == (samples, 1)
