"""Gradient of a loss at the embedding: it calibrates the loss before training, and is measured again afterwards.

A loss times ten is the same loss at another learning rate. Losses are therefore multiplied by a factor that gives
their first gradients one size, that of cross-entropy. After training, the size of the gradient shows how hard a loss
still pulls (Zhu et al. 2019, figure 4).
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
from lossearch.evaluators.training.start import build_model, one_hot
from lossearch.evaluators.training.training import Randomness
from lossearch.primitives.modules.torch_loss import FormulaLoss

#: Training samples that the gradient is measured on after training; in dense tasks, this number of pixels.
SAMPLES = 512

#: Share of cross-entropy's gradient below which a loss has none.
SMALLEST_GRADIENT = 1e-12


@dataclass(frozen=True)
class AttachedLoss:
    """A trained loss, the head below it if it takes logits, and the factor of its calibration."""

    loss: nn.Module
    head: nn.Linear
    calibration: float


def calibration_factor(loss: FormulaLoss, task: Task, fidelity: TrainingSettings, seed: int) -> float:
    """Return the factor that makes the loss's first gradient at the embedding as large as cross-entropy's.

    Both are taken on the seed's first batch and initial weights. The factor is 1 if the fidelity asks for no
    calibration. Raises TrainingFailed if the loss has no finite gradient there.
    """
    if not fidelity.calibrated:
        return 1.0
    model = build_model(task, fidelity, seed)
    if owns_class_weights(loss):
        adopt_class_weights(loss, model, seed)
    batch = Schedule(task, fidelity, [seed], torch.device("cpu")).batch()
    inputs, indices = (tensor[0] for tensor in batch)
    with Randomness(model.backbone, seed).at(0):
        embeddings = model.backbone(inputs).detach()
    embeddings, indices = with_classes(embeddings, indices)
    embeddings.requires_grad_()
    targets = one_hot(indices, task.classes)
    reference = F.cross_entropy(model.head(embeddings), targets)
    value = loss(embeddings if owns_class_weights(loss) else model.head(embeddings), targets)
    expected = _compute_gradient_norm(reference, embeddings)
    norm = _compute_gradient_norm(value, embeddings)
    if not is_usable(norm, expected):
        raise TrainingFailed(NO_GRADIENT)
    return round_factor(expected / norm)


def is_usable(norm: float, expected: float) -> bool:
    """Return True if a gradient's norm is finite and not vanishing relative to the expected one."""
    return math.isfinite(norm) and norm >= SMALLEST_GRADIENT * expected


def round_factor(factor: float) -> float:
    """Round a calibration factor to the six digits that are recorded."""
    return float(f"{factor:.6g}")


def gradient_size(attached: AttachedLoss, embeddings: Tensor, targets: Tensor) -> float:
    """Return the mean norm of the gradient of each sample's loss at its embedding, calibration included.

    Takes ``embeddings`` [size, samples] and class indices [samples] on the CPU. Samples with a negative index have no
    class and are left out.
    """
    at, targets = with_classes(embeddings.T, targets)
    at = at.clone().requires_grad_()
    inputs = at if owns_class_weights(attached.loss) else attached.head(at)
    value = attached.calibration * attached.loss(inputs, one_hot(targets, attached.head.out_features))
    (gradient,) = torch.autograd.grad(value, at)
    return float(torch.linalg.vector_norm(gradient * len(at), dim=1).mean())


def _compute_gradient_norm(value: Tensor, at: Tensor) -> float:
    if not value.requires_grad:
        return 0.0
    (gradient,) = torch.autograd.grad(value, at, allow_unused=True, materialize_grads=True)
    return float(gradient.norm())
