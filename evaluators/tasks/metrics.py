"""Metrics of fitness: one number in [0, 1] for each member of a cohort, larger is better.

They score many members at once: logits or embeddings have the shape [..., width, samples], scores [...].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lossearch.evaluators.data.splits import Pairs, Split

if TYPE_CHECKING:
    from torch import Tensor

#: Number of folds of verification accuracy (Huang et al., Labeled Faces in the Wild, 2007).
FOLDS = 10


@dataclass(frozen=True)
class Metric:
    """A metric, the output it scores, and the function that scores members on a split."""

    name: str
    looks_at: Literal["logits", "embeddings"]
    score: Callable[[Tensor, Split], Tensor]


def accuracy(logits: Tensor, split: Split) -> Tensor:
    """Compute the share of correctly classified samples [...], from logits [..., classes, samples]."""
    correct = (logits.argmax(-2) == split.targets.flatten()).sum(-1)
    return correct.double() / split.targets.numel()


def mean_iou(logits: Tensor, split: Split) -> Tensor:
    """Compute the mean intersection over union of the split's classes [...], from logits [..., classes, pixels].

    Pixels without a class are left out.
    """
    import torch

    classes = logits.shape[-2]
    flat = split.targets.flatten()
    has_class = flat >= 0
    targets = torch.nn.functional.one_hot(flat[has_class], classes).T.bool()
    index = torch.arange(classes, device=logits.device).unsqueeze(1)
    predicted = logits[..., has_class].argmax(-2).unsqueeze(-2) == index  # [..., classes, pixels]
    intersection, union = (predicted & targets).sum(-1).double(), (predicted | targets).sum(-1).double()
    is_present = targets.any(-1)
    return (intersection / union.clamp(min=1.0))[..., is_present].mean(-1)


def verification_accuracy(embeddings: Tensor, split: Split) -> Tensor:
    """Compute the share of pairs that a threshold on their cosine assigns correctly to one class or two [...].

    Embeddings are [..., size, samples]. The threshold of each of ten folds is the best on the other nine (Huang et al.,
    Labeled Faces in the Wild, 2007).
    """
    import torch

    assert split.pairs is not None
    same = split.pairs.same
    similarity = cosines(embeddings, split.pairs)
    flat = similarity.flatten(0, -2) if similarity.ndim > 1 else similarity.unsqueeze(0)
    shares = [correct_pairs(member, same).sum().double() / len(same) for member in flat]
    return torch.stack(shares).view(similarity.shape[:-1])


def cosines(embeddings: Tensor, pairs: Pairs) -> Tensor:
    """Compute the cosine of each pair [..., pairs], from embeddings [..., size, samples]."""
    import torch

    unit = torch.nn.functional.normalize(embeddings, dim=-2)
    return (unit[..., pairs.first] * unit[..., pairs.second]).sum(-2)


def correct_pairs(similarity: Tensor, same: Tensor) -> Tensor:
    """Mark the pairs [pairs] that are assigned correctly: to one class from the threshold of their fold up.

    ``similarity`` [pairs] is the cosine of each pair, and ``same`` [pairs] marks pairs of one class.
    """
    import torch

    fold = torch.arange(len(same), device=same.device) * FOLDS // len(same)
    order = similarity.argsort(descending=True, stable=True)
    ranked, ranked_same = similarity[order], same[order]
    is_elsewhere = fold[order].unsqueeze(1) != torch.arange(FOLDS, device=same.device)  # [pairs, folds]
    # Pairs above a threshold at each rank, in the other folds: right ones and wrong ones.
    hits = (is_elsewhere & ranked_same.unsqueeze(1)).cumsum(0)
    alarms = (is_elsewhere & ~ranked_same.unsqueeze(1)).cumsum(0)
    is_last_of_ties = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool, device=same.device)])
    gain = torch.where(is_last_of_ties.unsqueeze(1), hits - alarms, -len(same))
    threshold = ranked[gain.argmax(0)]  # [folds]
    return (similarity >= threshold[fold]) == same


ACCURACY = Metric("accuracy", "logits", accuracy)
MEAN_IOU = Metric("mean IoU", "logits", mean_iou)
VERIFICATION = Metric("verification accuracy", "embeddings", verification_accuracy)
