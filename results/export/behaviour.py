"""Checks: what a model card says of a loss's behaviour, each measured on a module made for it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss, loss_module
from lossearch.results.export.exportable import Exportable

# --- Behaviour: what a loss does at the edges, measured on the spot for its model card.

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
    at, elsewhere = ("", "") if kind == "embeddings" else (", at the target", ", elsewhere")
    yield f"{kind} of zero", torch.zeros(CLASSES, width)
    for size in (1e4, 65504.0):
        yield f"{kind} of zero but for one number of {size:g}{at}", size * pattern
        if elsewhere:
            yield f"{kind} of zero but for one number of {size:g}{elsewhere}", size * pattern.roll(1, 0)
        yield f"{kind} of -{size:g}", torch.full((CLASSES, width), -size)
    yield f"{kind} in float16", (100.0 * pattern).half()
    yield f"{kind} in bfloat16", (100.0 * pattern).bfloat16()


#: Probabilities of the target class, and cosines to its weight, at which a loss is looked at along its way.
_PROBABILITIES = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)


_ANGLES = torch.linspace(0.0, math.pi, 315, dtype=torch.float64)


def least_at(loss: FormulaLoss) -> float | None:
    """Largest probability of the target class at which a loss over logits is least, the rest spread evenly; in (0, 1).

    None for a loss over embeddings, and for one that is flat. Close to 1 for a loss that asks for certainty, as
    cross-entropy does.
    """
    values = None if isinstance(loss, EmbeddingLoss) else _along(loss, _logits_at(_PROBABILITIES))[0]
    if values is None or float(values.max() - values.min()) <= 1e-9 * float(values.abs().max()):
        return None
    least = values <= values.min() + 1e-9 * (values.max() - values.min())
    return float(_PROBABILITIES[least].max())


@dataclass(frozen=True)
class WayToClass:
    """What a loss over embeddings does with a sample at an angle to the weight of its class, from 0 to pi radians.

    The sample is of length 1 and at right angles to the weights of all other classes.
    """

    finite: bool
    away: tuple[float, float] | None  #: first stretch of angles at which its gradient drives the sample away
    flat: tuple[float, float] | None  #: first stretch beyond a right angle at which it has no gradient along the way


def way_to_class(loss: EmbeddingLoss) -> WayToClass:
    """How the loss, whose class weights are unit vectors at right angles, moves a sample."""
    embeddings = torch.zeros(len(_ANGLES), loss.embedding_size, dtype=torch.float64)
    embeddings[:, 0], embeddings[:, -1] = _ANGLES.cos(), _ANGLES.sin()
    gradient = _along(loss, embeddings)[1]
    slope = gradient[:, -1] * _ANGLES.cos() - gradient[:, 0] * _ANGLES.sin()
    small = 1e-6 * float(gradient.norm(dim=1).max())
    inner = (_ANGLES > 0.1) & (math.pi - 0.1 > _ANGLES)  # at the ends every slope is 0
    finite = bool(torch.isfinite(gradient).all())
    far = inner & (math.pi / 2 < _ANGLES)
    return WayToClass(finite, _stretch((slope < -small) & inner), _stretch((slope.abs() <= small) & far))


def _stretch(found: Tensor) -> tuple[float, float] | None:
    """The first angles in a row for which it holds, from the first to the last."""
    if not found.any():
        return None
    first = int(torch.nonzero(found)[0])
    end = torch.nonzero(~found[first:])
    last = first + int(end[0]) - 1 if len(end) else len(found) - 1
    return float(_ANGLES[first]), float(_ANGLES[last])


def first_gradient(loss: FormulaLoss) -> float:
    """Size of the gradient at random inputs, relative to cross-entropy's, as where a training starts.

    Cross-entropy's is of the same logits, or of the products with the class weights.
    """
    generator = torch.Generator().manual_seed(0)
    width = loss.embedding_size if isinstance(loss, EmbeddingLoss) else CLASSES
    inputs = torch.randn(64, width, generator=generator).requires_grad_()
    target = torch.arange(64) % CLASSES
    logits = inputs
    if isinstance(loss, EmbeddingLoss):
        weight = loss.weight.detach()
        logits = inputs @ (weight if weight.ndim == 2 else weight[:, 0]).T
    (reference,) = torch.autograd.grad(F.cross_entropy(logits, target), inputs)
    value = loss(inputs, target)
    if not value.requires_grad:
        return 0.0
    (gradient,) = torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)
    return float(gradient.norm() / reference.norm())


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


#: Embedding size for the checks: more than the classes, so that a direction is left at right angles to all of them.
_SIZE = CLASSES + 2


def checks(loss: Exportable) -> Iterator[tuple[str, str]]:
    """What was looked at and what was found, one after the other; at several progresses where the loss looks at it."""
    for progress in (0.0, 0.5, 1.0) if "progress" in loss.formula.names else (0.0,):
        module = _module(loss)
        module.set_progress(progress)
        when = f"at progress {progress:g}, " if "progress" in loss.formula.names else ""
        yield from ((when + what, found) for what, found in _of_module(module))


def conditions(loss: Exportable) -> str:
    """Under which the checks are made."""
    prior = ", all equally frequent," if "prior" in loss.formula.names else ""
    return f"Measured on {CLASSES} classes{prior} while this card was written."


def _of_module(module: FormulaLoss) -> Iterator[tuple[str, str]]:
    found = failures(module)
    yield f"{len(list(extremes(module)))} extreme batches", "; ".join(found) or "value and gradient are finite on all"
    yield "first gradient", _first(first_gradient(module))
    if isinstance(module, EmbeddingLoss):
        yield "the way to the class weight", _way(on_orthogonal_weights(module))
        return
    slope = slope_on_wrong(module)
    if slope is None:
        yield "its gradient", "**it has none**, whatever the probability of the target"
        return
    yield "where it is least", _least(module)
    yield "hard samples", _hard(slope)


def _module(loss: Exportable) -> FormulaLoss:
    options = {}
    if loss.over_embeddings:
        options = {"class_weights": loss.class_weights, "generator": torch.Generator().manual_seed(0)}
    prior = torch.full((CLASSES,), 1.0 / CLASSES)
    return loss_module(
        loss.formula, loss.hyperparameters, num_classes=CLASSES, embedding_size=_SIZE, prior=prior, **options
    )


def _first(ratio: float) -> str:
    if ratio == 0.0:
        return "**none** on random inputs: it does not start to train"
    found = f"{ratio:.2g} times cross-entropy's on random inputs, without a factor"
    if 0.5 <= ratio <= 2.0:
        return found
    return f"{found}: start from the learning rate of cross-entropy divided by as much"


def _way(module: EmbeddingLoss) -> str:
    way = way_to_class(module)
    if not way.finite:
        return "**its gradient is not finite at every angle**"
    if way.away is not None:
        start, end = way.away
        where = (
            f"beyond an angle of {start:.2f} rad" if end > pi - 0.15 else f"at angles of {start:.2f} to {end:.2f} rad"
        )
        return (
            f"**{where} to the weight of its class it drives a sample away from it**: a network can settle on the "
            "wrong side; start with a small margin or learning rate"
        )
    if way.flat is not None:
        start, end = way.flat
        return f"**at angles of {start:.2f} to {end:.2f} rad to the weight of its class it moves no sample**"
    return "at no angle does its gradient drive a sample away from the weight of its class"


def _least(module: FormulaLoss) -> str:
    least = least_at(module)
    if least is None:
        return "nowhere: **it is flat**, whatever the probability of the target"
    if least >= 0.95:
        return "at certainty"
    return (
        f"**where the target has probability {least:.2f}** (the rest even), not at certainty: do not read its softmax "
        "as confidence"
    )


def _hard(slope: float) -> str:
    found = f"where the target has probability 0.001 its gradient is {slope:.2g} of its largest"
    return f"**{found}**: it gives up on what is badly wrong, and may not start to train" if slope < 0.05 else found
