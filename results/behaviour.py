"""Behaviour: what a loss does at the edges, measured on the spot for its model card."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from primitives.torch_loss import EmbeddingLoss, FormulaLoss

#: Classes and embedding size of the batches below.
CLASSES, SIZE = 10, 8


def failures(loss: FormulaLoss) -> list[str]:
    """Inputs at which the value or the gradient of the mean is not finite, each with what was found."""
    found = []
    for description, inputs in extremes(isinstance(loss, EmbeddingLoss)):
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


def extremes(embeddings: bool) -> Iterator[tuple[str, Tensor]]:
    """Inputs at which losses break: ties, certainty, and the largest numbers that half precision holds."""
    width = SIZE if embeddings else CLASSES
    kind = "embeddings" if embeddings else "logits"
    pattern = torch.eye(width)[torch.arange(CLASSES) % width]
    yield f"{kind} of zero", torch.zeros(CLASSES, width)
    for size in (1e4, 65504.0):
        yield f"{kind} of zero but for one number of {size:g}, at the target", size * pattern
        yield f"{kind} of zero but for one number of {size:g}, elsewhere", size * pattern.roll(1, 0)
        yield f"{kind} of -{size:g}", torch.full((CLASSES, width), -size)
    yield f"{kind} in float16", (100.0 * pattern).half()
    yield f"{kind} in bfloat16", (100.0 * pattern).bfloat16()


def least_at(loss: FormulaLoss) -> float | None:
    """Probability of the target class at which a loss over logits is least, the rest spread evenly; in (0, 1).

    None for a loss over embeddings. Close to 1 for a loss that asks for certainty, as cross-entropy does.
    """
    if isinstance(loss, EmbeddingLoss):
        return None
    probability = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    logits = ((1.0 - probability) / (CLASSES - 1)).log().unsqueeze(1).repeat(1, CLASSES)
    logits[:, 0] = probability.log()
    values = torch.stack([loss(each.unsqueeze(0), torch.zeros(1, dtype=torch.long)) for each in logits])
    return float(probability[int(values.argmin())])
