"""Metrics that fitness is measured by: one number in [0, 1] for each member, larger is better, many members at once.

What they take has the shape [..., width, samples]: logits, or embeddings, of many members.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lossearch.evaluators.data.splits import Pairs, Split

#: Folds of verification accuracy (Huang et al., Labeled Faces in the Wild, 2007).
FOLDS = 10


@dataclass(frozen=True)
class Metric:
    """One metric: what it looks at, and how it scores members on a split."""

    name: str
    looks_at: Literal["logits", "embeddings"]
    score: Callable[[Tensor, Split], Tensor]


def accuracy(logits: Tensor, split: Split) -> Tensor:
    """Share of samples whose largest logit is their class's."""
    correct = (logits.argmax(-2) == split.targets.flatten()).sum(-1)
    return correct.double() / split.targets.numel()


def mean_iou(logits: Tensor, split: Split) -> Tensor:
    """Intersection over union of each class over all pixels, averaged over the classes that the split has.

    Pixels without a class are left out.
    """
    classes = logits.shape[-2]
    flat = split.targets.flatten()
    has_class = flat >= 0
    targets = F.one_hot(flat[has_class], classes).T.bool()
    found = logits[..., has_class].argmax(-2).unsqueeze(-2) == torch.arange(classes, device=logits.device).unsqueeze(1)
    both, either = (found & targets).sum(-1).double(), (found | targets).sum(-1).double()
    present = targets.any(-1)
    return (both / either.clamp(min=1.0))[..., present].mean(-1)


def verification_accuracy(embeddings: Tensor, split: Split) -> Tensor:
    """Share of pairs rightly told to be of one class or of two, by a threshold on their cosine.

    The threshold for each of ten folds is the best on the other nine.
    """
    assert split.pairs is not None
    similar = cosines(embeddings, split.pairs)
    flat = similar.flatten(0, -2) if similar.ndim > 1 else similar.unsqueeze(0)
    return torch.stack([_in_ten_folds(each, split.pairs.same) for each in flat]).view(similar.shape[:-1])


def cosines(embeddings: Tensor, pairs: Pairs) -> Tensor:
    """Cosine of each pair, [..., pairs], of embeddings [..., size, samples]."""
    unit = F.normalize(embeddings, dim=-2)
    return (unit[..., pairs.first] * unit[..., pairs.second]).sum(-2)


def _in_ten_folds(similar: Tensor, same: Tensor) -> Tensor:
    """Accuracy over the folds, of similarities [pairs]."""
    return rightly_told(similar, same).sum().double() / len(same)


def rightly_told(similar: Tensor, same: Tensor) -> Tensor:
    """Which pairs [pairs] are told rightly; one is taken for one class from the threshold of its fold up."""
    order = similar.argsort(descending=True, stable=True)
    ranked, matching = similar[order], same[order]
    fold = (torch.arange(len(same), device=same.device) * FOLDS // len(same))[order]
    in_fold = fold.unsqueeze(1) == torch.arange(FOLDS, device=same.device)  # [pairs, folds]
    elsewhere = ~in_fold
    hits = (elsewhere & matching.unsqueeze(1)).cumsum(0)  # with the threshold at each pair
    alarms = (elsewhere & ~matching.unsqueeze(1)).cumsum(0)
    is_last_of_ties = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool, device=same.device)])
    gain = torch.where(is_last_of_ties.unsqueeze(1), hits - alarms, -len(same))
    threshold = ranked[gain.argmax(0)]
    own_fold = torch.arange(len(same), device=same.device) * FOLDS // len(same)
    return (similar >= threshold[own_fold]) == same


ACCURACY = Metric("accuracy", "logits", accuracy)
MEAN_IOU = Metric("mean IoU", "logits", mean_iou)
VERIFICATION = Metric("verification accuracy", "embeddings", verification_accuracy)
