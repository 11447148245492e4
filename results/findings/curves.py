"""Curves of losses: value and slope along a few lines through the predictions, as records.

Over logits there are two lines. On ``target`` the probability of the target varies, and the other classes share the
rest equally. On ``other`` the probability of one other class varies at the target's cost, and the remaining classes
share a tenth. The logits are the logarithms of the probabilities, shifted to mean zero.

Over embeddings, the class weights are the corners of a regular simplex and have length one. The embedding has the
length of a vector of its size whose entries have variance one: the root of the size. Centers point along the class
weights at that length. On ``target`` the angle to the target's weight varies, and the other weights stay equally far.
On ``other`` the embedding moves from one other class's weight to the target's, by its angle to the former.

The prior is uniform, and a batch holds one sample.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lossearch.primitives.language.formula import Formula
from lossearch.primitives.modules.pedcc import regular_simplex
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss, compute_each_alone, loss_module

#: Probability shared by the classes that do not vary on the line ``other``, where there are more than two classes.
HELD = 0.1

#: Largest number of classes drawn: with more, the lines hardly change.
MOST_CLASSES = 100

#: Progress values at which a loss that depends on the training progress is drawn.
MOMENTS = (0.0, 0.5, 1.0)

#: Probabilities of the target, and degrees to its weight, at which losses are compared. Each is a point of its line.
PROBABILITIES, DEGREES = (0.01, 0.1, 0.5, 0.9, 0.99), (150.0, 120.0, 90.0, 60.0, 30.0)

#: Log-odds of the probabilities on the lines, which go from 8e-7 to 1 - 8e-7.
_LOG_ODDS = torch.linspace(-14.0, 14.0, 113, dtype=torch.float64)


@dataclass(frozen=True)
class Drawn:
    """A loss to draw."""

    name: str
    formula: Formula  #: with numbers in place of its hyper-parameters
    factor: float  #: that the loss is multiplied by in training


@dataclass(frozen=True)
class CurvePoint:
    """A loss at one point of a line. A number that is not finite is null."""

    loss: str  #: its name, or its formula where it has none
    formula: str
    line: str  #: which class varies: target or other
    axis: str  #: probability, or angle
    progress: float | None  #: training progress in [0, 1]; null where the loss does not depend on it
    at: float  #: the probability of the class that varies, or the angle to its weight in radians
    target_probability: float  #: softmax of the logits at the target
    value: float | None  #: value of the loss, times the factor
    slope: float | None  #: derivative of the value along the line, per unit of probability or per radian
    slope_in_logit: float | None  #: derivative in the logit of the class that varies; null over embeddings
    factor: float  #: from the calibration; value and slopes are multiplied by it
    classes: int

    def __post_init__(self) -> None:
        ends = {"probability": 1.0, "angle": math.pi}
        if self.axis not in ends or not 0.0 < self.at < ends[self.axis]:
            raise ValueError(f"Expected a probability in (0, 1) or an angle in (0, pi), got {self.axis!r} {self.at!r}.")


def curves(losses: Sequence[Drawn], classes: int, embedding_size: int) -> list[CurvePoint]:
    """Compute the points of all losses: over angles if the first loss is over embeddings, else over probabilities."""
    count = min(classes, MOST_CLASSES)
    by_angle = losses[0].formula.looks_at_embeddings
    lines = _lines_over_angles(count, embedding_size) if by_angle else _lines_over_probabilities(count)
    return [point for loss in losses for point in _curve(loss, lines, count, math.sqrt(embedding_size), by_angle)]


@dataclass(frozen=True)
class _Line:
    """A line through the space of predictions."""

    name: str
    varies: int  #: index of the class that varies
    coordinates: Tensor  #: probabilities or angles, [points]
    prediction: Callable[[Tensor], Tensor]  #: logits or embeddings, [points, classes], at coordinates


_TARGET, _OTHER = 0, 1


def _lines_over_probabilities(classes: int) -> list[_Line]:
    """Return the lines through logits [points, classes]."""
    held = HELD if classes > 2 else 0.0

    def of_target(p: Tensor) -> Tensor:
        return _logits([p, *[(1.0 - p) / (classes - 1)] * (classes - 1)])

    def of_other(p: Tensor) -> Tensor:
        rest = torch.full_like(p, held / max(1, classes - 2))
        return _logits([1.0 - held - p, p, *[rest] * (classes - 2)])

    grid = torch.cat([torch.sigmoid(_LOG_ODDS), torch.tensor(PROBABILITIES, dtype=torch.float64)]).unique()
    return [_Line("target", _TARGET, grid, of_target), _Line("other", _OTHER, (1.0 - held) * grid, of_other)]


def _logits(probabilities: Sequence[Tensor]) -> Tensor:
    """Return logits [points, classes] of each class's probabilities [points]."""
    logarithms = torch.stack(list(probabilities), 1).log()
    return logarithms - logarithms.mean(1, keepdim=True)


def _lines_over_angles(classes: int, embedding_size: int) -> list[_Line]:
    """Return the lines through embeddings [points, classes].

    The simplex spans one dimension less. The last dimension is at right angles to it.
    """
    length = math.sqrt(embedding_size)
    weights = class_weights(classes)
    aside = torch.eye(classes, dtype=torch.float64)[-1]
    between = math.acos(-1.0 / (classes - 1))
    onward = weights[_TARGET] - weights[_OTHER] * math.cos(between)
    onward = onward / onward.norm() if classes > 2 else aside

    def of_target(angle: Tensor) -> Tensor:
        return length * (torch.outer(angle.cos(), weights[_TARGET]) + torch.outer(angle.sin(), aside))

    def of_other(angle: Tensor) -> Tensor:
        return length * (torch.outer(angle.cos(), weights[_OTHER]) + torch.outer(angle.sin(), onward))

    grid = torch.arange(1.0, 180.0, dtype=torch.float64) / 180.0  # at 0 and pi an angle has no slope
    return [
        _Line("target", _TARGET, math.pi * grid, of_target),
        _Line("other", _OTHER, between * grid, of_other),
    ]


@lru_cache(maxsize=2)
def class_weights(classes: int) -> Tensor:
    """Return the corners of a regular simplex, [classes, classes]. Their last coordinate is zero."""
    return torch.nn.functional.pad(regular_simplex(classes), (0, 1))


def _curve(loss: Drawn, lines: Sequence[_Line], classes: int, length: float, by_angle: bool) -> Iterator[CurvePoint]:
    module = _module(loss, classes, length)
    moments: Sequence[float | None] = MOMENTS if "progress" in loss.formula.names else (None,)
    for moment in moments:
        if moment is not None:
            module.set_progress(moment)
        for line in lines:
            for measured in _measure(module, line, by_angle):
                yield CurvePoint(
                    loss.name,
                    str(loss.formula),
                    line.name,
                    "angle" if by_angle else "probability",
                    moment,
                    factor=loss.factor,
                    classes=classes,
                    **measured,
                )


def _module(loss: Drawn, classes: int, length: float) -> FormulaLoss:
    """Return the loss as a module, times its factor, with the class weights of the lines."""
    sizes: dict[str, Any] = {}
    if loss.formula.looks_at_embeddings:
        sizes = {"num_classes": classes, "embedding_size": classes}
    prior = torch.full((classes,), 1.0 / classes)
    module = loss_module(loss.formula, prior=prior, scale=loss.factor, **sizes).double()
    if isinstance(module, EmbeddingLoss):
        with torch.no_grad():
            if module.weight is not None:
                module.weight.copy_(class_weights(classes))
            if module.centers is not None:
                module.centers.copy_(length * class_weights(classes))
    return module


def _measure(module: FormulaLoss, line: _Line, by_angle: bool) -> Iterator[dict[str, Any]]:
    """Measure value and slopes at each coordinate of a line."""
    at = line.coordinates.clone().requires_grad_()
    predictions = line.prediction(at)
    logits = predictions @ class_weights(predictions.shape[1]).T if by_angle else predictions
    inputs = predictions if isinstance(module, EmbeddingLoss) else logits
    values = compute_each_alone(module, inputs, torch.full((len(at),), _TARGET))
    slopes, in_logits = torch.zeros_like(at), torch.zeros_like(logits)
    if values.requires_grad:
        slopes, in_logits = torch.autograd.grad(values.sum(), (at, logits), allow_unused=True, materialize_grads=True)
    probabilities = torch.softmax(logits, 1)[:, _TARGET]
    for place, coordinate in enumerate(line.coordinates):
        yield {
            "at": coordinate.item(),
            "target_probability": probabilities[place].item(),
            "value": _finite(values[place]),
            "slope": _finite(slopes[place]),
            "slope_in_logit": None if by_angle else _finite(in_logits[place, line.varies]),
        }


def _finite(number: Tensor) -> float | None:
    value = float(number.detach())
    return value if math.isfinite(value) else None
