"""Behaviour of a loss at the edges, measured on a module made for its model card.

``checks`` says what was measured and what came out. The functions below it do the measuring.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lossearch.primitives.modules.class_weights import uniform_vectors
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss, compute_each_alone, loss_module
from lossearch.results.export.exportable import Exportable

#: Number of classes of every batch below.
CLASSES = 10

#: Embedding size: larger than the number of classes, so that one direction is at right angles to all class weights.
_SIZE = CLASSES + 2

#: Probabilities of the target class at which a loss over logits is measured.
_PROBABILITIES = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)

#: Angles to the weight of the class, in radians, at which a loss over embeddings is measured.
_ANGLES = torch.linspace(0.0, math.pi, 315, dtype=torch.float64)


def conditions(loss: Exportable) -> str:
    """Say under which conditions the checks are made."""
    prior = ", all equally frequent," if "prior" in loss.formula.names else ""
    return f"Measured on {CLASSES} classes{prior} while this card was written."


def checks(loss: Exportable) -> Iterator[tuple[str, str]]:
    """Yield each check with its result. A loss that depends on the progress is checked at its start, middle and end."""
    depends_on_progress = "progress" in loss.formula.names
    for progress in (0.0, 0.5, 1.0) if depends_on_progress else (0.0,):
        module = _module(loss)
        module.set_progress(progress)
        moment = f"at progress {progress:g}, " if depends_on_progress else ""
        has_factor = loss.has_run_factor
        yield from ((moment + check, result) for check, result in _check_module(module, has_factor))


def _module(loss: Exportable) -> FormulaLoss:
    options: dict[str, Any] = {}
    if loss.over_embeddings:
        options = {"class_weights": loss.class_weights, "generator": torch.Generator().manual_seed(0)}
    prior = torch.full((CLASSES,), 1.0 / CLASSES)
    return loss_module(
        loss.formula, loss.hyperparameters, num_classes=CLASSES, embedding_size=_SIZE, prior=prior, **options
    )


def _check_module(module: FormulaLoss, has_factor: bool) -> Iterator[tuple[str, str]]:
    failures = find_failures(module)
    num_batches = len(list(extreme_inputs(module)))
    yield f"{num_batches} extreme batches", "; ".join(failures) or "value and gradient are finite on all"
    yield "first gradient", _first_gradient_text(measure_first_gradient(module), has_factor)
    if isinstance(module, EmbeddingLoss):
        yield "the way to the class weight", _way_text(trace_way_to_class(set_orthogonal_weights(module)))
        return
    slope = measure_slope_on_wrong(module)
    if slope is None:
        yield "its gradient", "**it has none**, whatever the probability of the target"
        return
    yield "where it is least", _minimum_text(find_minimum(module))
    yield "hard samples", _hard_samples_text(slope)


def _first_gradient_text(ratio: float, has_factor: bool) -> str:
    """Describe the size of the first gradient. With a factor of a run, the card gives the rate elsewhere."""
    if ratio == 0.0:
        return "**none** on random inputs: it does not start to train"
    text = f"{ratio:.2g} times cross-entropy's on random inputs, without a factor"
    if has_factor:
        return text
    if 0.5 <= ratio <= 2.0:
        return text
    return f"{text}: as a start, divide cross-entropy's learning rate by this number"


def _way_text(way: "WayToClass") -> str:
    if not way.is_finite:
        return "**its gradient is not finite at every angle**"
    if way.away is not None:
        start, end = way.away
        where = f"at angles of {start:.2f} to {end:.2f} rad"
        if end > math.pi - 0.15:
            where = f"beyond an angle of {start:.2f} rad"
        return (
            f"**{where} to the weight of its class it drives a sample away from it**: a network can settle on the "
            "wrong side; start with a small margin or learning rate"
        )
    if way.flat is not None:
        start, end = way.flat
        return f"**at angles of {start:.2f} to {end:.2f} rad to the weight of its class it moves no sample**"
    return "at no angle does its gradient drive a sample away from the weight of its class"


def _minimum_text(minimum: float | None) -> str:
    if minimum is None:
        return "nowhere: **it is flat**, whatever the probability of the target"
    if minimum >= 0.95:
        return "at certainty"
    return (
        f"**where the target has probability {minimum:.2f}** (the others share the rest equally), not at certainty: do "
        "not read its softmax as confidence"
    )


def _hard_samples_text(slope: float) -> str:
    text = f"where the target has probability 0.001 its gradient is {slope:.2g} of its largest"
    if slope >= 0.05:
        return text
    return f"**{text}**: it gives up on samples that are badly wrong, and may not start to train"


def find_failures(loss: FormulaLoss) -> list[str]:
    """Describe the extreme inputs at which the mean value or its gradient is not finite."""
    failures = []
    for description, inputs in extreme_inputs(loss):
        inputs = inputs.clone().requires_grad_()
        value = loss(inputs, torch.arange(len(inputs)) % CLASSES)
        gradient = _gradient(value, inputs)
        if not math.isfinite(value.item()):
            failures.append(f"the value is {value.item():g} at {description}")
        elif not torch.isfinite(gradient).all():
            failures.append(f"the gradient is not finite at {description}")
    return failures


def extreme_inputs(loss: FormulaLoss) -> Iterator[tuple[str, Tensor]]:
    """Yield inputs [CLASSES, width] at which losses break: ties, certainty, the largest numbers of half precision."""
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


def measure_first_gradient(loss: FormulaLoss) -> float:
    """Measure the gradient at random inputs, as at the start of a training, relative to cross-entropy's.

    Cross-entropy sees the same logits, or the products of the embeddings with the class weights.
    """
    generator = torch.Generator().manual_seed(0)
    width = loss.embedding_size if isinstance(loss, EmbeddingLoss) else CLASSES
    inputs = torch.randn(64, width, generator=generator).requires_grad_()
    target = torch.arange(64) % CLASSES
    logits = inputs
    if isinstance(loss, EmbeddingLoss):
        weight = uniform_vectors((CLASSES, width), generator) if loss.weight is None else loss.weight.detach()
        logits = inputs @ (weight if weight.ndim == 2 else weight[:, 0]).T
    (reference,) = torch.autograd.grad(F.cross_entropy(logits, target), inputs)
    return float(_gradient(loss(inputs, target), inputs).norm() / reference.norm())


def find_minimum(loss: FormulaLoss) -> float | None:
    """Find the largest probability of the target in (0, 1) at which a loss over logits is least.

    The other classes share the rest equally. The result is close to 1 for a loss that asks for certainty, such as
    cross-entropy. It is None for a loss over embeddings and for a flat loss.
    """
    if isinstance(loss, EmbeddingLoss):
        return None
    values, _ = _per_sample(loss, _logits_at(_PROBABILITIES))
    if float(values.max() - values.min()) <= 1e-9 * float(values.abs().max()):
        return None
    least = values <= values.min() + 1e-9 * (values.max() - values.min())
    return float(_PROBABILITIES[least].max())


def measure_slope_on_wrong(loss: FormulaLoss) -> float | None:
    """Measure the gradient where the target has probability 0.001, relative to the largest up to 0.999.

    The result is 1 for cross-entropy, and near 0 for a loss that gives up on samples that are badly wrong, such as mean
    absolute error. It is None for a loss over embeddings and for a loss without gradient.
    """
    if isinstance(loss, EmbeddingLoss):
        return None
    sizes = _per_sample(loss, _logits_at(_PROBABILITIES))[1].norm(dim=1)
    return float(sizes[0] / sizes.max()) if float(sizes.max()) > 0.0 else None


@dataclass(frozen=True)
class WayToClass:
    """The effect of a loss over embeddings on a sample, by its angle to the weight of its class, 0 to pi radians.

    The sample has length 1 and is at right angles to the weights of all other classes.
    """

    is_finite: bool  #: True if the gradient is finite at every angle
    away: tuple[float, float] | None  #: first range of angles at which the gradient drives the sample away
    flat: tuple[float, float] | None  #: first range beyond a right angle without a gradient along the way


def trace_way_to_class(loss: EmbeddingLoss) -> WayToClass:
    """Follow a sample on its way to the weight of its class. The class weights are unit vectors at right angles."""
    embeddings = torch.zeros(len(_ANGLES), loss.embedding_size, dtype=torch.float64)
    embeddings[:, 0], embeddings[:, -1] = _ANGLES.cos(), _ANGLES.sin()
    gradients = _per_sample(loss, embeddings)[1]
    slopes = gradients[:, -1] * _ANGLES.cos() - gradients[:, 0] * _ANGLES.sin()
    small = 1e-6 * float(gradients.norm(dim=1).max())
    inner = (_ANGLES > 0.1) & (math.pi - 0.1 > _ANGLES)  # at both ends every slope is 0
    far = inner & (math.pi / 2 < _ANGLES)
    return WayToClass(
        is_finite=bool(torch.isfinite(gradients).all()),
        away=_first_range((slopes < -small) & inner),
        flat=_first_range((slopes.abs() <= small) & far),
    )


def set_orthogonal_weights(loss: EmbeddingLoss) -> EmbeddingLoss:
    """Set class weights and centers to unit vectors at right angles, and return the loss."""
    corners = torch.eye(loss.num_classes, loss.embedding_size)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.copy_(corners if parameter.ndim == 2 else corners.unsqueeze(1).expand_as(parameter))
    return loss


def _first_range(holds: Tensor) -> tuple[float, float] | None:
    """Return the first and last angle of the first run of angles at which ``holds`` [angles] is True."""
    if not holds.any():
        return None
    first = int(torch.nonzero(holds)[0])
    end = torch.nonzero(~holds[first:])
    last = first + int(end[0]) - 1 if len(end) else len(holds) - 1
    return float(_ANGLES[first]), float(_ANGLES[last])


def _logits_at(probabilities: Tensor) -> Tensor:
    """Return logits [probabilities, CLASSES] whose softmax has these at class 0. The others share the rest equally."""
    logits = ((1.0 - probabilities) / (CLASSES - 1)).log().unsqueeze(1).repeat(1, CLASSES)
    logits[:, 0] = probabilities.log()
    return logits


def _per_sample(loss: FormulaLoss, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return values [samples] and gradients [samples, width], with each sample of class 0 in a batch of its own."""
    samples = inputs.clone().requires_grad_()
    values = compute_each_alone(loss, samples, torch.zeros(len(samples), dtype=torch.long))
    return values.detach(), _gradient(values.sum(), samples)


def _gradient(value: Tensor, inputs: Tensor) -> Tensor:
    """Return the gradient of a value in the inputs: zeros where it does not depend on them."""
    if not value.requires_grad:
        return torch.zeros_like(inputs)
    (gradient,) = torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)
    return gradient
