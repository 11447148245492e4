"""The probe: one fixed float64 batch on which formulas are compared by value and by gradient.

Invariant: the batch is data of the language, the same in every process; half of its targets are one-hot
and half are soft, and it holds easy, hard and tied predictions.
"""

from functools import lru_cache

import torch
from torch import Tensor

from primitives.formula import Formula
from primitives.torch_loss import EmbeddingLoss, FormulaLoss, loss_module

CLASSES, SIZE, SAMPLES = 5, 4, 8

#: Moments of training at which a formula that looks at progress is seen.
PROGRESS = (0.37, 0.08, 0.91)

#: Difference up to which two formulas are the same: relative to the largest number, and absolute.
TOLERANCE, NOISE = 1e-7, 1e-12


@lru_cache(maxsize=1)
def _batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(20_240_412)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    hard = torch.eye(CLASSES, dtype=torch.float64)[torch.arange(SAMPLES) % CLASSES]
    soft = torch.softmax(normal(SAMPLES, CLASSES), 1)
    spread = torch.linspace(0.3, 4.0, SAMPLES, dtype=torch.float64).unsqueeze(1)
    return {
        "logits": normal(SAMPLES, CLASSES) * spread,
        "embeddings": normal(SAMPLES, SIZE) * spread,
        "weight": normal(CLASSES, SIZE),
        "centers": normal(CLASSES, SIZE),
        "hard": hard,
        "mixed": torch.where(torch.arange(SAMPLES).unsqueeze(1) % 2 == 0, hard, soft),
        "prior": torch.softmax(normal(CLASSES), 0),
    }


def response(formula: Formula, target: str = "mixed") -> tuple[Tensor, Tensor]:
    """Values and flattened gradients of the mean on the probe, for a formula without free names.

    ``target`` is ``mixed`` or ``hard`` (one-hot alone). The gradient is in the logits, or in embeddings,
    class weights and centers where the formula looks at embeddings. A formula that looks at ``progress`` is seen
    early, midway and late. Either result may hold non-finite numbers.
    """
    batch = _batch()
    loss = loss_module(
        formula, num_classes=CLASSES, embedding_size=SIZE, reduction="none", prior=batch["prior"]
    ).double()
    for name, parameter in loss.named_parameters():
        parameter.data.copy_(batch[name])
    moments = PROGRESS if "progress" in formula.names else PROGRESS[:1]
    seen = [_response_at(loss, moment, batch, batch[target]) for moment in moments]
    return torch.cat([value for value, _ in seen]), torch.cat([gradient for _, gradient in seen])


def _response_at(loss: FormulaLoss, progress: float, batch: dict[str, Tensor], target: Tensor) -> tuple[Tensor, Tensor]:
    loss.set_progress(progress)
    over_embeddings = isinstance(loss, EmbeddingLoss)
    inputs = batch["embeddings" if over_embeddings else "logits"].clone().requires_grad_()
    points = {"inputs": inputs, **dict(loss.named_parameters())}
    values: Tensor = loss(inputs, target)
    gradients = {name: torch.zeros_like(point) for name, point in points.items()}
    if values.requires_grad:
        found = torch.autograd.grad(values.mean(), list(points.values()), allow_unused=True, materialize_grads=True)
        gradients = dict(zip(points, found, strict=True))
    if over_embeddings:  # also where this form of a formula does not look at centers
        gradients.setdefault("centers", torch.zeros_like(batch["centers"]))
    return values.detach(), torch.cat([gradient.flatten() for gradient in gradients.values()])


def same_on_probe(one: Formula, other: Formula) -> bool:
    """Whether two formulas agree on the probe in value and gradient; a non-finite number agrees with none."""
    one, other = with_free_names_bound(one), with_free_names_bound(other)
    if one.looks_at_embeddings != other.looks_at_embeddings:
        return False
    pairs = zip(response(one), response(other), strict=True)
    return all(a.shape == b.shape and _close(a, b) for a, b in pairs)


def with_free_names_bound(formula: Formula) -> Formula:
    """The formula with a number in the place of each hyper-parameter, other for each name."""
    names = sorted(formula.hyperparameters)
    return formula.bind({name: 0.5 + 0.3 / (index + 1.7) for index, name in enumerate(names)}) if names else formula


def _close(a: Tensor, b: Tensor) -> bool:
    size = float(torch.maximum(a.abs().max(), b.abs().max()))
    return bool(torch.isfinite(a).all() and torch.isfinite(b).all() and (a - b).abs().max() <= TOLERANCE * size + NOISE)
