"""The size of a loss's gradient at the embedding, which tells how hard it still pulls (Zhu et al. 2019, figure 4)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossearch.evaluators.attached_loss import owns_class_weights
from lossearch.evaluators.splits import with_classes
from lossearch.evaluators.start import one_hot

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
