"""Screening: tests before any training, a few milliseconds each, that reject with a reason.

In order: the formula is finite, on easy and on extreme predictions; it is not flat; and moving a few
predictions down its gradient brings them to their targets (the idea of the loss-rejection protocol of Li et
al., AutoLoss-Zero, CVPR 2022).
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from primitives.formula import Formula
from primitives.torch_loss import EmbeddingLoss, FormulaLoss, loss_module

CLASSES, SIZE, SAMPLES = 4, 6, 12
STEPS, STEP_SIZE = 32, 0.25
CHECK_EVERY = 4

#: Slope, relative to the value, below which it is rounding error in float32.
FLAT = 1e-7

#: Share of the predictions that must reach their targets.
REQUIRED = 0.9


def rejection(formula: Formula, class_weights: str | None = None) -> str | None:
    """Why a loss with these class weights is not worth training, or None where it passes."""
    options: dict[str, Any] = {}
    if formula.looks_at_embeddings:
        options = {"class_weights": class_weights or "learned", "generator": torch.Generator().manual_seed(1)}
    loss = loss_module(
        formula, num_classes=CLASSES, embedding_size=SIZE, prior=torch.full((CLASSES,), 1.0 / CLASSES), **options
    )
    return _not_finite(loss) or _flat_or_untrainable(loss)


def _not_finite(loss: FormulaLoss) -> str | None:
    for description, inputs in _extremes(isinstance(loss, EmbeddingLoss)):
        points = [inputs.clone().requires_grad_(), *_learned(loss)]
        value = loss(points[0], _targets(len(inputs)))
        if not torch.isfinite(value):
            return f"not finite: the value is {value.item():g} on {description}"
        if value.requires_grad:
            gradients = torch.autograd.grad(value, points, allow_unused=True, materialize_grads=True)
            if not all(torch.isfinite(gradient).all() for gradient in gradients):
                return f"not finite: the gradient is not finite on {description}"
    return None


def _flat_or_untrainable(loss: FormulaLoss) -> str | None:
    """Descend by the sign of the gradient, which no scale of the loss changes, and see where it leads."""
    loss.set_progress(0.5)
    is_embedding = isinstance(loss, EmbeddingLoss)
    inputs, targets = _start(is_embedding).clone().requires_grad_(), _targets(SAMPLES)
    points = [inputs, *_learned(loss)]
    wanted = targets.argmax(1)
    reached = 0.0
    for step in range(STEPS):
        value = loss(inputs, targets)
        if not value.requires_grad:
            return "flat: the value depends on no prediction"
        gradients = torch.autograd.grad(value, points, allow_unused=True, materialize_grads=True)
        largest = max(float(gradient.abs().max()) for gradient in gradients)
        if step == 0 and not largest > FLAT * abs(value.item()):
            return f"flat: the largest slope is {largest:.1g}"
        with torch.no_grad():
            for point, gradient in zip(points, gradients, strict=True):
                point -= STEP_SIZE * gradient.sign()
            if (step + 1) % CHECK_EVERY == 0:
                logits = loss.get_logits(inputs) if isinstance(loss, EmbeddingLoss) else inputs
                reached = float((logits.argmax(1) == wanted).float().mean())
                if reached >= REQUIRED:
                    return None
    return f"untrainable: {reached:.0%} of the predictions reach their targets in {STEPS} steps, {REQUIRED:.0%} must"


def _learned(loss: FormulaLoss) -> list[Tensor]:
    return [parameter for parameter in loss.parameters() if parameter.requires_grad]


@lru_cache(maxsize=4)
def _targets(samples: int) -> Tensor:
    return torch.eye(CLASSES)[torch.arange(samples) % CLASSES]


@lru_cache(maxsize=2)
def _start(embeddings: bool) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SAMPLES, SIZE if embeddings else CLASSES, generator=generator)


@lru_cache(maxsize=2)
def _extremes(embeddings: bool) -> tuple[tuple[str, Tensor], ...]:
    if embeddings:
        start = _start(True)
        return (
            ("embeddings at zero", torch.zeros(CLASSES, SIZE)),
            ("embeddings of length 1,000", 1e3 * start[:CLASSES]),
        )
    right = torch.eye(CLASSES)
    return (
        ("equal logits", torch.zeros(CLASSES, CLASSES)),
        ("confident right and wrong predictions", 100.0 * torch.cat([right, right.roll(1, 0)])),
    )
