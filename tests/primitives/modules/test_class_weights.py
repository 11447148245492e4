"""Class weights of modules: evenly distributed and fixed, learned from a progress on, several for each class."""

import pytest
import torch

import lossearch
from lossearch.primitives.analysis.targets import scores
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.class_weights import ClassWeights, suits
from lossearch.primitives.modules.pedcc import evenly_distributed
from lossearch.primitives.modules.torch_loss import EmbeddingLoss


def test_pedcc_weights_are_the_regular_simplex_and_fixed():
    loss = lossearch.loss("pedcc", num_classes=100, embedding_size=512)
    weight = loss.weight.double()
    cosines = weight @ weight.T
    expected = torch.full((100, 100), -1.0 / 99.0, dtype=torch.float64).fill_diagonal_(1.0)
    torch.testing.assert_close(cosines, expected, rtol=0.0, atol=1e-6)
    assert [(name, parameter.requires_grad) for name, parameter in loss.named_parameters()] == [("weight", False)]


def test_fixed_weights_are_not_moved_by_an_optimiser_that_lists_them():
    loss = lossearch.loss("pedcc", num_classes=5, embedding_size=8)
    embeddings = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimizer = torch.optim.SGD([embeddings, *loss.parameters()], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss(embeddings, torch.arange(6) % 5).backward()
        optimizer.step()
    assert torch.equal(loss.weight, evenly_distributed(5, 8))


def test_pedcc_weights_are_learned_from_a_progress_on():
    loss = lossearch.loss("pedcc", num_classes=5, embedding_size=8, fine_tune_from=0.6)
    for progress, learned in ((0.0, False), (0.59, False), (0.6, True), (1.0, True), (0.1, False)):
        loss.set_progress(progress)
        assert loss.weight.requires_grad is learned
    loss.set_progress(0.6)
    loss(torch.randn(3, 8), torch.tensor([0, 1, 2])).backward()
    assert loss.weight.grad.norm() > 0.0


def test_progress_leaves_weights_alone_that_the_user_froze():
    loss = lossearch.loss("am_softmax", num_classes=5, embedding_size=8)
    loss.weight.requires_grad_(False)
    loss.set_progress(0.5)
    assert not loss.weight.requires_grad


def test_any_loss_over_embeddings_takes_pedcc_weights():
    loss = lossearch.loss("ce(s*cosine)", s=8.0, num_classes=3, embedding_size=4, class_weights="pedcc")
    torch.testing.assert_close(loss.weight, evenly_distributed(3, 4))
    assert "class_weights='pedcc'" in repr(loss)


def test_the_nearest_of_several_sub_centers_counts():
    loss = lossearch.loss("ce(cosine)", num_classes=2, embedding_size=2, class_weights="sub_centers", sub_centers=2)
    assert loss.weight.shape == (2, 2, 2)
    loss.weight.data.copy_(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, -1.0]]]))
    torch.testing.assert_close(
        loss.get_logits(torch.tensor([[0.0, 3.0], [-2.0, 0.0]])), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    )


def test_formulas_that_sub_centers_cannot_serve_are_refused():
    assert not suits("sub_centers", parse("ce(z) + cosine"))
    assert suits("pedcc", parse("ce(z) + cosine"))
    with pytest.raises(ValueError, match="Expected a formula over cosine for sub_centers"):
        lossearch.loss("ce(z) + ce(cosine)", num_classes=2, embedding_size=2, class_weights="sub_centers")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weights": "pedc"}, "Unknown class_weights 'pedc'; did you mean pedcc"),
        ({"num_classes": 0}, "Expected num_classes to be a whole number above 0, got 0"),
        ({"num_classes": 2.0}, "Expected num_classes to be a whole number above 0, got 2.0"),
        ({"embedding_size": True}, "Expected embedding_size to be a whole number above 0, got True"),
        ({"class_weights": "sub_centers", "sub_centers": 0}, "Expected sub_centers to be a whole number above 0"),
        ({"sub_centers": 2}, "Expected class_weights='sub_centers' beside sub_centers, got 'learned'"),
        (
            {"class_weights": "pedcc", "fine_tune_from": True},
            r"Expected fine_tune_from, a progress, between 0 and 1, got True",
        ),
        ({"fine_tune_from": 0.5}, "Expected class_weights='pedcc' beside fine_tune_from, got 'learned'"),
        (
            {"class_weights": "pedcc", "fine_tune_from": 2.0},
            r"Expected fine_tune_from, a progress, between 0 and 1, got 2.0",
        ),
        (
            {"class_weights": "pedcc", "fine_tune_from": "a"},
            r"Expected fine_tune_from, a progress, between 0 and 1, got 'a'",
        ),
        ({"class_weights": "pedcc", "embedding_size": 1}, "Expected at most 2 classes for size 1, got 5"),
        ({"weight": torch.ones(4)}, r"Expected weight of shape \[5\], one number for each class, got \[4\]"),
        ({"weight": torch.ones(5, 4)}, "Expected weight, one finite number for each class"),
    ],
)
def test_wrong_class_weights_are_refused_in_the_constructor(options, message):
    with pytest.raises(ValueError, match=message):
        lossearch.loss("ce(cosine)", **{"num_classes": 5, "embedding_size": 4, **options})


def test_initial_class_weights_come_from_the_generator():
    def drawn(seed):
        return ClassWeights("learned", 4, 3).initial(torch.Generator().manual_seed(seed))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert drawn(1).abs().max() <= 3**-0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ce(30*(cosine - 0.35*y))", "30*cosine"),
        ("ce(16*cos(arccos(cosine) + 0.5*y))", "16*cos(arccos(cosine))"),
        ("ce(norm*(y*psi + (1 - y)*cosine))", "norm*cosine"),
        ("ce(-dist2/2*(1 + 0.3*y)) + 0.05*at_target(dist2)", "-dist2/2"),
        ("ce(z) + 0.05*at_target(dist2)", "z"),
        ("-at_target(softmax_c(4*cosine - y))", "4*cosine"),
        ("at_target(dist2) - mean_c(dist2)", "-dist2"),
        ("mean_c(cosine) - at_target(cosine)", "cosine"),
        ("ce(y*cosine) - at_target(cosine)", "cosine"),
        ("ce(z - at_target(z)) + norm", "z"),
        ("ce(batch_mean(norm)*cosine)", "cosine"),
        ("ce(cosine*max_c(norm))", "cosine*max_c(norm)"),
        ("norm - at_target(z)", "z"),
    ],
)
def test_a_loss_scores_by_the_logits_of_its_cross_entropy_without_a_margin(text, expected):
    assert str(scores(parse(text, ["psi"] if "psi" in text else []))) == expected


def test_scores_that_widen_a_sample_over_the_classes_are_computed():
    loss = lossearch.loss("ce(cosine*max_c(norm))", num_classes=3, embedding_size=4)
    embeddings = torch.randn(5, 4)
    expected = torch.nn.functional.cosine_similarity(embeddings[:, None], loss.weight[None], dim=2)
    torch.testing.assert_close(loss.get_logits(embeddings), expected * embeddings.norm(dim=1, keepdim=True))


def test_an_embedding_loss_follows_the_conventions_of_pytorch_metric_learning():
    loss = lossearch.loss("arcface", num_classes=5, embedding_size=4)
    assert isinstance(loss, EmbeddingLoss)
    assert (loss.num_classes, loss.embedding_size) == (5, 4)
    assert len(list(loss.parameters())) == 1
    embeddings, labels = torch.randn(6, 4), torch.arange(6) % 5
    assert loss(embeddings, labels).ndim == 0
    assert loss.get_logits(embeddings).shape == (6, 5)


_DEGREES = 28.64788975654116  # half a radian


@pytest.mark.parametrize(
    ("theirs", "options", "ours", "everywhere"),
    [
        ("CosFaceLoss", {"margin": 0.35, "scale": 30}, "cosface", True),
        ("ArcFaceLoss", {"margin": _DEGREES, "scale": 30}, "arcface_monotone", True),
        ("NormalizedSoftmaxLoss", {"temperature": 1 / 16}, "normalized_softmax", True),
        ("SubCenterArcFaceLoss", {"margin": _DEGREES, "scale": 64}, "sub_center_arcface", True),
        ("ArcFaceLoss", {"margin": _DEGREES, "scale": 30}, "arcface", False),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_margin_losses_have_the_values_and_logits_of_pytorch_metric_learning(theirs, options, ours, everywhere):
    from pytorch_metric_learning import losses

    reference = getattr(losses, theirs)(num_classes=5, embedding_size=4, **options)
    loss = lossearch.loss(ours, num_classes=5, embedding_size=4)
    loss.weight.data.copy_(reference.W.data.T.reshape(loss.weight.shape))
    generator, labels = torch.Generator().manual_seed(0), torch.arange(50) % 5
    embeddings = torch.randn(50, 4, generator=generator)
    if not everywhere:  # near their class: beyond pi - m the paper's arcface is a different loss
        embeddings = loss.weight.data.reshape(5, -1, 4)[labels, 0] + 0.1 * embeddings
    torch.testing.assert_close(loss(embeddings, labels), reference(embeddings, labels), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss.get_logits(embeddings), reference.get_logits(embeddings), rtol=1e-4, atol=1e-5)
