"""Checks: what a model card says of a loss's behaviour, each measured on a module made for it."""

from collections.abc import Iterator
from math import pi

import torch

from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss, loss_module
from lossearch.results.behaviour import (
    CLASSES,
    extremes,
    failures,
    first_gradient,
    least_at,
    on_orthogonal_weights,
    slope_on_wrong,
    way_to_class,
)
from lossearch.results.exportable import Exportable

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
