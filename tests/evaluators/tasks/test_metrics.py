"""Metrics equal those of scikit-learn, or values worked out by hand."""

import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score

from lossearch.evaluators.data.splits import Pairs, Split
from lossearch.evaluators.tasks.metrics import accuracy, cosines, mean_iou, verification_accuracy

GENERATOR = torch.Generator().manual_seed(0)


def test_accuracy_is_scikit_learns_for_each_member():
    logits = torch.randn(2, 3, 5, 40, generator=GENERATOR)
    targets = torch.randint(0, 5, (40,), generator=GENERATOR)
    scores = accuracy(logits, Split(torch.zeros(40, 1), targets))
    assert scores.shape == (2, 3)
    for seed in range(2):
        for member in range(3):
            expected = accuracy_score(targets, logits[seed, member].argmax(0))
            assert scores[seed, member].item() == expected


def test_mean_iou_is_scikit_learns_jaccard_over_all_pixels():
    logits = torch.randn(2, 4, 3 * 5 * 5, generator=GENERATOR)
    targets = torch.randint(0, 4, (3, 5, 5), generator=GENERATOR)
    scores = mean_iou(logits, Split(torch.zeros(3, 1, 5, 5), targets))
    for member in range(2):
        expected = jaccard_score(targets.flatten(), logits[member].argmax(0), average="macro")
        assert scores[member].item() == pytest.approx(expected)


def test_a_class_that_is_not_in_the_split_is_left_out():
    targets = torch.tensor([[[0, 0], [1, 1]]])
    logits = torch.tensor([[9.0, 9.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0], [0.0, 0.0, 0.0, 9.0]])
    # class 0: 2 of 2; class 1: 1 of 2 pixels predicted; class 2 is absent: (1 + 0.5)/2
    assert mean_iou(logits, Split(torch.zeros(1, 1, 2, 2), targets)).item() == pytest.approx(0.75)


def by_hand(similar, same):
    """Try every similarity as the threshold of each of ten folds."""
    right = 0
    count = len(same)
    folds = [range(k * count // 10, (k + 1) * count // 10) for k in range(10)]
    for fold in folds:
        rest = [k for k in range(count) if k not in fold]
        best = max(
            sorted({similar[k] for k in range(count)}, reverse=True),
            key=lambda threshold: sum((similar[k] >= threshold) == same[k] for k in rest),
        )
        right += sum((similar[k] >= best) == same[k] for k in fold)
    return right / count


def test_verification_accuracy_is_that_of_ten_folds_by_hand():
    embeddings = torch.randn(2, 6, 30, generator=GENERATOR)
    pairs = Pairs(*(torch.randint(0, 30, (50,), generator=GENERATOR) for _ in "ab"), torch.arange(50) % 2 == 0)
    scores = verification_accuracy(embeddings, Split(torch.zeros(30, 1), torch.zeros(30), pairs))
    similar = cosines(embeddings, pairs)
    for member in range(2):
        assert scores[member].item() == pytest.approx(by_hand(similar[member].tolist(), pairs.same.tolist()))


def test_embeddings_that_tell_identities_apart_verify_all_and_constant_ones_half():
    identity = torch.arange(20) % 4
    pairs = Pairs(torch.arange(20), torch.arange(20).roll(4), torch.ones(20, dtype=torch.bool))
    different = Pairs(torch.arange(20), torch.arange(20).roll(1), torch.zeros(20, dtype=torch.bool))
    both = Pairs(
        *(
            torch.stack([getattr(half, name) for half in (pairs, different)], 1).flatten()
            for name in ("first", "second", "same")
        )
    )
    split = Split(torch.zeros(20, 1), identity, both)
    assert verification_accuracy(torch.eye(4)[identity].T, split).item() == 1.0
    assert verification_accuracy(torch.ones(4, 20), split).item() == pytest.approx(0.5)
