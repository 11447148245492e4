"""Measures of a trained network on a split, as papers report them: more than the one number that fitness is.

By scikit-learn, but for the expected calibration error and distances, which it has not. Each measure is a number by its
name; which there are depends on the task's metric.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from sklearn import metrics
from torch import Tensor

from lossearch.evaluators.data.splits import Split
from lossearch.evaluators.tasks.metrics import correct_pairs, cosines, mean_iou, verification_accuracy
from lossearch.evaluators.training.outcome import Outputs

#: Bins of the calibration error (Guo et al., ICML 2017).
BINS = 15

#: The false acceptance rate at which true acceptance is reported.
FALSE_ACCEPTANCE = 1e-3


def measures(metric: str, outputs: Outputs, split: Split) -> dict[str, float]:
    """Every measure that suits a task with this metric, by its name."""
    return {name: float(value) for name, value in _MEASURES[metric](outputs, split).items()}


def confusion_matrix(outputs: Outputs, split: Split) -> tuple[int, ...]:
    """Counts [classes, classes], row after row: rows are true classes, columns found ones."""
    targets, classes = split.targets.flatten(), range(outputs.logits.shape[0])
    has_class = targets >= 0
    found = outputs.found[has_class]
    counts = metrics.confusion_matrix(targets[has_class], found, labels=list(classes))
    return tuple(counts.flatten().tolist())


def correct_samples(metric: str, outputs: Outputs, split: Split) -> tuple[int, ...]:
    """1 for each sample, or pair, that was told rightly, else 0; nothing for a metric that is no mean over them."""
    if metric == "accuracy":
        right = outputs.found == split.targets.flatten()
    elif metric == "verification accuracy":
        assert split.pairs is not None
        right = correct_pairs(cosines(outputs.embeddings, split.pairs), split.pairs.same)
    else:
        return ()
    return tuple(right.int().tolist())


def calibration_error(probabilities: Tensor, targets: Tensor) -> float:
    """Expected difference between confidence and accuracy, over 15 bins of confidence (Guo et al., eq. 3).

    ``probabilities`` [classes, samples]; in [0, 1], smaller is better.
    """
    confidence, found = probabilities.max(0)
    right = (found == targets).double()
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gap = torch.zeros(BINS, dtype=torch.float64).index_add_(0, place, right - confidence.double())
    return float(gap.abs().sum() / len(targets))


def _of_classes(outputs: Outputs, split: Split) -> dict[str, float]:
    targets, found = split.targets.numpy(), outputs.found.numpy()
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        targets, found, average="macro", zero_division=0.0, labels=np.unique(targets)
    )
    within, between = class_distances(outputs.embeddings, split.targets)
    return {
        "accuracy": metrics.accuracy_score(targets, found),
        "balanced accuracy": recall,  # over the classes that there are
        "macro precision": precision,
        "macro recall": recall,
        "macro F1": f1,
        "calibration error": calibration_error(outputs.logits.softmax(0), split.targets),
        "intra-class distance": within,
        "inter-class distance": between,
        "distance ratio": between / within if within else 0.0,
    }


def class_distances(embeddings: Tensor, targets: Tensor) -> tuple[float, float]:
    """Mean distance of unit embeddings [size, samples] to the mean of their class, and between these means."""
    unit = F.normalize(embeddings, dim=0).T.double()
    classes = targets.unique()
    centers = torch.stack([unit[targets == each].mean(0) for each in classes])
    own = torch.searchsorted(classes, targets)
    within = torch.linalg.vector_norm(unit - centers[own], dim=1).mean()
    return float(within), float(F.pdist(centers).mean()) if len(classes) > 1 else 0.0


def _of_pixels(outputs: Outputs, split: Split) -> dict[str, float]:
    every = split.targets.flatten()
    targets, found = (each[every >= 0].numpy() for each in (every, outputs.found))
    return {
        "mean IoU": float(mean_iou(outputs.logits, split)),
        "pixel accuracy": metrics.accuracy_score(targets, found),
        "balanced accuracy": metrics.recall_score(
            targets, found, average="macro", labels=np.unique(targets), zero_division=0.0
        ),
    }


def _of_pairs(outputs: Outputs, split: Split) -> dict[str, float]:
    assert split.pairs is not None
    similar, same = cosines(outputs.embeddings, split.pairs).numpy(), split.pairs.same.numpy()
    false_accepted, accepted, _ = metrics.roc_curve(same, similar, drop_intermediate=False)
    missed = 1.0 - accepted
    crossing = int(np.argmin(np.abs(missed - false_accepted)))
    within, between = class_distances(outputs.embeddings, split.targets)
    return {
        "verification accuracy": float(verification_accuracy(outputs.embeddings, split)),
        "equal error rate": (missed[crossing] + false_accepted[crossing]) / 2.0,
        "true acceptance at false acceptance 0.001": accepted[false_accepted <= FALSE_ACCEPTANCE].max(),
        "area under ROC": metrics.roc_auc_score(same, similar),
        "intra-class distance": within,
        "inter-class distance": between,
        "distance ratio": between / within if within else 0.0,
    }


_MEASURES: dict[str, Callable[[Outputs, Split], dict[str, float]]] = {
    "accuracy": _of_classes,
    "mean IoU": _of_pixels,
    "verification accuracy": _of_pairs,
}
