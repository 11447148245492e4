"""Checks: what a model card says of a loss's behaviour, each measured on a module made for it."""

from collections.abc import Iterator

import torch

from primitives.torch_loss import EmbeddingLoss, FormulaLoss, loss_module
from results.behaviour import (
    CLASSES,
    extremes,
    failures,
    least_at,
    on_orthogonal_weights,
    pushes_away_from,
    slope_on_wrong,
)
from results.exportable import Exportable

#: Embedding size for the checks: more than the classes, so that a direction is left at right angles to all of them.
_SIZE = CLASSES + 2


def checks(loss: Exportable) -> Iterator[tuple[str, str]]:
    """What was looked at and what was found, one after the other."""
    module = _module(loss)
    found = failures(module)
    yield f"{len(list(extremes(module)))} extreme batches", "; ".join(found) or "value and gradient are finite on all"
    if isinstance(module, EmbeddingLoss):
        yield "the way to the class weight", _way_to_class(on_orthogonal_weights(module))
        return
    slope = slope_on_wrong(module)
    if slope is None:
        yield "its gradient", "**it has none**, whatever the probability of the target"
        return
    yield "where it is least", _least(module)
    yield "hard samples", _hard(slope)


def _module(loss: Exportable) -> FormulaLoss:
    options = {"class_weights": loss.class_weights} if loss.over_embeddings else {}
    prior = torch.full((CLASSES,), 1.0 / CLASSES)
    module = loss_module(
        loss.formula, loss.hyperparameters, num_classes=CLASSES, embedding_size=_SIZE, prior=prior, **options
    )
    module.set_progress(0.5)
    return module


def _way_to_class(module: EmbeddingLoss) -> str:
    angle = pushes_away_from(module)
    if angle is None:
        return "at every angle its gradient brings a sample nearer to the weight of its class"
    return (
        f"**beyond an angle of {angle:.2f} rad to the weight of its class it drives a sample away from it**: a network "
        "can settle on the wrong side; start with a small margin or learning rate"
    )


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
