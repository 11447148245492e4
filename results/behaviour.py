"""Behaviour: what a loss does at the edges, measured on the spot for its model card."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from primitives.torch_loss import EmbeddingLoss, FormulaLoss

#: Classes of the batches below.
CLASSES = 10


def failures(loss: FormulaLoss) -> list[str]:
    """Inputs at which the value or the gradient of the mean is not finite, each with what was found."""
    found = []
    for description, inputs in extremes(loss):
        inputs = inputs.clone().requires_grad_()
        value = loss(inputs, torch.arange(len(inputs)) % CLASSES)
        gradient = torch.zeros(())
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)
        if not math.isfinite(value.item()):
            found.append(f"the value is {value.item():g} at {description}")
        elif not torch.isfinite(gradient).all():
            found.append(f"the gradient is not finite at {description}")
    return found


def extremes(loss: FormulaLoss) -> Iterator[tuple[str, Tensor]]:
    """Inputs at which losses break: ties, certainty, and the largest numbers that half precision holds."""
    width, kind = (loss.embedding_size, "embeddings") if isinstance(loss, EmbeddingLoss) else (CLASSES, "logits")
    pattern = torch.eye(width)[torch.arange(CLASSES) % width]
    yield f"{kind} of zero", torch.zeros(CLASSES, width)
    for size in (1e4, 65504.0):
        yield f"{kind} of zero but for one number of {size:g}, at the target", size * pattern
        yield f"{kind} of zero but for one number of {size:g}, elsewhere", size * pattern.roll(1, 0)
        yield f"{kind} of -{size:g}", torch.full((CLASSES, width), -size)
    yield f"{kind} in float16", (100.0 * pattern).half()
    yield f"{kind} in bfloat16", (100.0 * pattern).bfloat16()


#: Probabilities of the target class, and cosines to its weight, at which a loss is looked at along its way.
_PROBABILITIES = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
_ANGLES = torch.linspace(0.0, math.pi, 315, dtype=torch.float64)


def least_at(loss: FormulaLoss) -> float | None:
    """Probability of the target class at which a loss over logits is least, the rest spread evenly; in (0, 1).

    None for a loss over embeddings, and for one that is flat. Close to 1 for a loss that asks for certainty, as
    cross-entropy does.
    """
    values = None if isinstance(loss, EmbeddingLoss) else _along(loss, _logits_at(_PROBABILITIES))[0]
    if values is None or float(values.max() - values.min()) <= 1e-9 * float(values.abs().max()):
        return None
    return float(_PROBABILITIES[int(values.argmin())])


def pushes_away_from(loss: FormulaLoss) -> float | None:
    """Angle in radians to its class weight from which on a loss over embeddings drives a sample away, if there is one.

    The sample is of length 1 and at right angles to the weights of all other classes.
    """
    if not isinstance(loss, EmbeddingLoss) or loss.embedding_size <= CLASSES:
        return None
    embeddings = torch.zeros(len(_ANGLES), loss.embedding_size, dtype=torch.float64)
    embeddings[:, 0], embeddings[:, -1] = _ANGLES.cos(), _ANGLES.sin()
    slope = _slope(loss, embeddings, torch.stack([-_ANGLES.sin(), _ANGLES.cos()], 1), columns=[0, -1])
    away = (slope < -1e-6 * slope.abs().max()) & (_ANGLES > 0.1) & (math.pi - 0.1 > _ANGLES)
    return float(_ANGLES[int(torch.nonzero(away)[0])]) if away.any() else None


def slope_on_wrong(loss: FormulaLoss) -> float | None:
    """Gradient where the target has probability 0.001, relative to the largest on the way to 0.999; over logits.

    1 for cross-entropy; near 0 for a loss that gives up on what is badly wrong, as mean absolute error does.
    """
    if isinstance(loss, EmbeddingLoss):
        return None
    gradient = _along(loss, _logits_at(_PROBABILITIES))[1].norm(dim=1)
    return float(gradient[0] / gradient.max()) if float(gradient.max()) > 0.0 else None


def on_orthogonal_weights(loss: EmbeddingLoss) -> EmbeddingLoss:
    """The loss with class weights, and centers, that are unit vectors at right angles."""
    corners = torch.eye(loss.num_classes, loss.embedding_size)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.copy_(corners if parameter.ndim == 2 else corners.unsqueeze(1).expand_as(parameter))
    return loss


def _logits_at(probability: Tensor) -> Tensor:
    """Logits [probabilities, CLASSES] whose softmax has these at class 0, the rest spread evenly."""
    logits = ((1.0 - probability) / (CLASSES - 1)).log().unsqueeze(1).repeat(1, CLASSES)
    logits[:, 0] = probability.log()
    return logits


def _along(loss: FormulaLoss, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient of each sample by itself, a batch of one, of class 0."""
    values, gradients = [], []
    for each in inputs:
        sample = each.unsqueeze(0).requires_grad_()
        value = loss(sample, torch.zeros(1, dtype=torch.long))
        gradient = torch.zeros_like(sample)
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value, sample, allow_unused=True, materialize_grads=True)
        values.append(value.detach())
        gradients.append(gradient.squeeze(0))
    return torch.stack(values), torch.stack(gradients)


def _slope(loss: FormulaLoss, inputs: Tensor, direction: Tensor, columns: list[int]) -> Tensor:
    """Derivative of the loss along a direction in these columns of the inputs."""
    return (_along(loss, inputs)[1][:, columns] * direction).sum(1)
