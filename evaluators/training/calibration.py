"""Calibration: the factor by which a loss is multiplied in training.

A loss times ten is the same loss at another learning rate: losses are compared with first gradients of one size.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.data.splits import with_classes
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.attached_loss import adopt_class_weights, owns_class_weights
from lossearch.evaluators.training.outcome import NO_GRADIENT, TrainingFailed
from lossearch.evaluators.training.schedule import Schedule
from lossearch.evaluators.training.start import initial_model, one_hot
from lossearch.evaluators.training.training import Randomness
from lossearch.primitives.modules.torch_loss import FormulaLoss


def calibration_factor(loss: FormulaLoss, task: Task, fidelity: TrainingSettings, seed: int) -> float:
    """The factor that makes the loss's first gradient at the embedding as large as cross-entropy's.

    It is 1 where the fidelity wants none. Both are taken on the seed's first batch and initial weights. Raises
    TrainingFailed where the loss has no finite gradient there.
    """
    if not fidelity.calibrated:
        return 1.0
    model = initial_model(task, fidelity, seed)
    if owns_class_weights(loss):
        adopt_class_weights(loss, model, seed)
    inputs, indices = (each[0] for each in Schedule(task, fidelity, [seed], torch.device("cpu")).batch())
    with Randomness(model.backbone, seed).at(0):
        embeddings = model.backbone(inputs).detach()
    embeddings, indices = with_classes(embeddings, indices)
    embeddings.requires_grad_()
    targets = one_hot(indices, task.classes)
    reference = F.cross_entropy(model.head(embeddings), targets)
    value = loss(embeddings if owns_class_weights(loss) else model.head(embeddings), targets)
    expected = _norm_of_gradient(reference, embeddings)
    found = _norm_of_gradient(value, embeddings)
    if not math.isfinite(found) or found < 1e-12 * expected:
        raise TrainingFailed(NO_GRADIENT)
    return float(f"{expected / found:.6g}")


def _norm_of_gradient(value: Tensor, at: Tensor) -> float:
    if not value.requires_grad:
        return 0.0
    (gradient,) = torch.autograd.grad(value, at, allow_unused=True, materialize_grads=True)
    return float(gradient.norm())


# --- The size of a loss's gradient at the embedding, which tells how hard it still pulls (Zhu et al. 2019, figure 4).

#: Training samples that it is measured on; in dense tasks images of so many pixels.
SAMPLES = 512


@dataclass(frozen=True)
class Attached:
    """A trained loss, the factor that it was trained with, and the head below it for losses over logits."""

    loss: nn.Module
    head: nn.Linear
    calibration: float


def gradient_size(attached: Attached, embeddings: Tensor, targets: Tensor) -> float:
    """Mean size of the gradient of each sample's loss at its embedding, calibration included.

    ``embeddings`` [size, samples] and class indices [samples], on the CPU; samples with a negative one are left out.
    """
    at, targets = with_classes(embeddings.T, targets)
    at = at.clone().requires_grad_()
    seen = at if owns_class_weights(attached.loss) else attached.head(at)
    target = one_hot(targets, attached.head.out_features)
    value = attached.calibration * attached.loss(seen, target)
    (gradient,) = torch.autograd.grad(value, at)
    return float(torch.linalg.vector_norm(gradient * len(at), dim=1).mean())
