"""Measures of a trained network on a split that papers report besides the metric of fitness.

scikit-learn computes them, except the expected calibration error and the distances, which it lacks. A measure is a
number with a name. The task's metric decides which measures there are.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lossearch.evaluators.data.splits import Split
from lossearch.evaluators.tasks.metrics import correct_pairs, cosines, mean_iou, verification_accuracy
from lossearch.evaluators.training.outcome import Outputs

#: Bins of the calibration error (Guo et al., ICML 2017).
BINS = 15

_DISTANCES = ("intra-class distance", "inter-class distance", "distance ratio", "gradient at the embedding")

#: Names of the measures by the metric of a task: what is recorded of every training.
NAMES: dict[str, tuple[str, ...]] = {
    "accuracy": (
        *("accuracy", "balanced accuracy", "macro precision", "macro recall", "macro F1", "calibration error"),
        *_DISTANCES,
    ),
    "mean IoU": ("mean IoU", "pixel accuracy", "balanced accuracy", "gradient at the embedding"),
    "verification accuracy": (
        *("verification accuracy", "equal error rate", "true acceptance at false acceptance 0.001"),
        "area under ROC",
        *_DISTANCES,
    ),
}

#: False acceptance rate at which true acceptance is reported.
FALSE_ACCEPTANCE = 1e-3


def compute_measures(metric: str, outputs: Outputs, split: Split) -> dict[str, float]:
    """Compute every measure for a task with this metric, by name."""
    return {name: float(value) for name, value in _MEASURES[metric](outputs, split).items()}


def confusion_matrix(outputs: Outputs, split: Split) -> tuple[int, ...]:
    """Count samples by class, [classes, classes] row after row: true classes in rows, predicted ones in columns.

    Samples without a class are left out.
    """
    from sklearn import metrics

    targets, classes = split.targets.flatten(), range(outputs.logits.shape[0])
    has_class = targets >= 0
    predicted = outputs.predicted[has_class]
    counts = metrics.confusion_matrix(targets[has_class], predicted, labels=list(classes))
    return tuple(counts.flatten().tolist())


def correct_samples(metric: str, outputs: Outputs, split: Split) -> tuple[int, ...]:
    """Return 1 for each sample, or pair, that is classified correctly, else 0.

    Returns an empty tuple if the metric is not a mean over samples.
    """
    if metric == "accuracy":
        correct = outputs.predicted == split.targets.flatten()
    elif metric == "verification accuracy":
        assert split.pairs is not None
        correct = correct_pairs(cosines(outputs.embeddings, split.pairs), split.pairs.same)
    else:
        return ()
    return tuple(correct.int().tolist())


def calibration_error(probabilities: Tensor, targets: Tensor) -> float:
    """Compute the expected difference between confidence and accuracy over 15 bins of confidence (Guo et al., eq. 3).

    Takes ``probabilities`` [classes, samples]. The result is in [0, 1]; smaller is better.
    """
    confidence, predicted = probabilities.max(0)
    correct = (predicted == targets).double()
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gap = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, correct - confidence.double())
    return float(gap.abs().sum() / len(targets))


def class_distances(embeddings: Tensor, targets: Tensor) -> tuple[float, float]:
    """Compute mean distances of unit embeddings [size, samples]: to the mean of their class, and between these means.

    The second is 0 if there is only one class.
    """
    unit = F.normalize(embeddings, dim=0).T.double()
    classes = targets.unique()
    centers = torch.stack([unit[targets == label].mean(0) for label in classes])
    rows = torch.searchsorted(classes, targets)
    within = torch.linalg.vector_norm(unit - centers[rows], dim=1).mean()
    return float(within), float(F.pdist(centers).mean()) if len(classes) > 1 else 0.0


def _measure_distances(outputs: Outputs, split: Split) -> dict[str, float]:
    within, between = class_distances(outputs.embeddings, split.targets)
    return {
        "intra-class distance": within,
        "inter-class distance": between,
        "distance ratio": between / within if within else 0.0,
    }


def _measure_classification(outputs: Outputs, split: Split) -> dict[str, float]:
    from sklearn import metrics

    targets, predicted = split.targets.numpy(), outputs.predicted.numpy()
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        targets, predicted, average="macro", zero_division=0.0, labels=np.unique(targets)
    )
    return {
        "accuracy": metrics.accuracy_score(targets, predicted),
        "balanced accuracy": recall,  # mean recall of the classes in the split
        "macro precision": precision,
        "macro recall": recall,
        "macro F1": f1,
        "calibration error": calibration_error(outputs.logits.softmax(0), split.targets),
        **_measure_distances(outputs, split),
    }


def _measure_segmentation(outputs: Outputs, split: Split) -> dict[str, float]:
    from sklearn import metrics

    all_targets = split.targets.flatten()
    has_class = all_targets >= 0
    targets, predicted = all_targets[has_class].numpy(), outputs.predicted[has_class].numpy()
    return {
        "mean IoU": float(mean_iou(outputs.logits, split)),
        "pixel accuracy": metrics.accuracy_score(targets, predicted),
        "balanced accuracy": metrics.recall_score(
            targets, predicted, average="macro", labels=np.unique(targets), zero_division=0.0
        ),
    }


def _measure_verification(outputs: Outputs, split: Split) -> dict[str, float]:
    from sklearn import metrics

    assert split.pairs is not None
    similarity, same = cosines(outputs.embeddings, split.pairs).numpy(), split.pairs.same.numpy()
    false_accepted, accepted, _ = metrics.roc_curve(same, similarity, drop_intermediate=False)
    missed = 1.0 - accepted
    crossing = int(np.argmin(np.abs(missed - false_accepted)))
    return {
        "verification accuracy": float(verification_accuracy(outputs.embeddings, split)),
        "equal error rate": (missed[crossing] + false_accepted[crossing]) / 2.0,
        "true acceptance at false acceptance 0.001": accepted[false_accepted <= FALSE_ACCEPTANCE].max(),
        "area under ROC": metrics.roc_auc_score(same, similarity),
        **_measure_distances(outputs, split),
    }


_MEASURES: dict[str, Callable[[Outputs, Split], dict[str, float]]] = {
    "accuracy": _measure_classification,
    "mean IoU": _measure_segmentation,
    "verification accuracy": _measure_verification,
}
