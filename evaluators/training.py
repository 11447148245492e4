"""Trains one network under one loss and scores it: data, model, train, score.

Invariant: weights and batches depend on the seed alone and not on the loss, so that candidates under one
seed start alike, see the same batches, and their scores can be compared in pairs. No global generator is used.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluators.fidelity import Fidelity
from evaluators.networks import PROXIES, linear
from evaluators.outcome import Outcome
from evaluators.splits import Splits
from evaluators.tasks.task import Task
from primitives.class_weights import ClassWeights
from primitives.formula import Formula
from primitives.torch_loss import FormulaLoss, loss_module


class TrainingFailed(Exception):
    """The training could not be finished; the message is the reason that is recorded."""


@dataclass
class Model:
    """A network, the linear head above its embeddings, and where class centers [classes, size] start."""

    backbone: nn.Module
    head: nn.Linear
    centers: Tensor


def train_and_score(loss: nn.Module, task: Task, fidelity: Fidelity, seed: int, calibration: float) -> float:
    """Fitness of a loss after one proxy training: accuracy on the validation split, in [0, 1].

    ``loss`` is any module over logits and class indices or target probabilities, or one over embeddings
    with class weights and ``get_logits``; it is multiplied by ``calibration``. Raises TrainingFailed.
    """
    splits = task.load()
    model = initial_model(task, fidelity, seed)
    if owns_class_weights(loss):
        adopt_class_weights(loss, model, seed)
    train(loss, model, splits, fidelity, seed, calibration, task.classes)
    return score(loss, model, splits)


def train_alone(
    formula: Formula, class_weights: str | None, task: Task, fidelity: Fidelity, seeds: Sequence[int]
) -> Outcome:
    """Train one candidate under one seed after the other, as a network without a batched form has to be.

    The same as a cohort of one; it stops at the first seed under which the training fails.
    """
    fitness: list[float | None] = [None] * len(seeds)
    reasons: list[str | None] = [None] * len(seeds)
    calibration = None
    for place, seed in enumerate(seeds):
        try:
            if calibration is None:  # one factor for all seeds: it is a property of the loss
                loss = loss_for(formula, task, fidelity, class_weights)
                calibration = calibration_factor(loss, task, fidelity, seed)
            loss = loss_for(formula, task, fidelity, class_weights)
            fitness[place] = train_and_score(loss, task, fidelity, seed, calibration)
        except TrainingFailed as failure:
            reasons[place] = str(failure)
            break
    return Outcome(calibration, fitness, reasons)


def train(
    loss: nn.Module, model: Model, splits: Splits, fidelity: Fidelity, seed: int, calibration: float, classes: int
) -> None:
    """Train the model under the loss, in place. Raises TrainingFailed where the loss is not finite."""
    inputs, targets = splits.train.inputs, one_hot(splits.train.targets, classes)
    parameters = [*model.backbone.parameters(), *loss.parameters()]
    if not owns_class_weights(loss):
        parameters += model.head.parameters()
    optimizer = torch.optim.SGD(
        parameters, fidelity.learning_rate, fidelity.momentum, weight_decay=fidelity.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, fidelity.steps)
    moves = looks_at_progress(loss)
    for step, batch in enumerate(batches(len(splits.train), fidelity, seed)):
        if moves:
            loss.set_progress(step / fidelity.steps)  # type: ignore[operator]
        value = calibration * loss(representation(loss, model, inputs[batch]), targets[batch])
        if not math.isfinite(value.item()):
            raise TrainingFailed(f"diverged at step {step + 1} of {fidelity.steps}: the loss is not finite")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def score(loss: nn.Module, model: Model, splits: Splits) -> float:
    """Share of the validation split that the model classifies correctly."""
    seen = representation(loss, model, splits.validation.inputs)
    logits = loss.get_logits(seen) if owns_class_weights(loss) else seen  # type: ignore[operator]
    if not torch.isfinite(logits).all():
        raise TrainingFailed("diverged: the trained network's outputs are not finite")
    correct = int((logits.argmax(1) == splits.validation.targets).sum())
    return correct / len(splits.validation)


def calibration_factor(loss: FormulaLoss, task: Task, fidelity: Fidelity, seed: int) -> float:
    """The factor that makes the loss's first gradient at the embedding as large as cross-entropy's.

    Both are taken on the seed's first batch and initial weights. Raises TrainingFailed where the loss
    has no finite gradient there.
    """
    model, splits = initial_model(task, fidelity, seed), task.load()
    if owns_class_weights(loss):
        adopt_class_weights(loss, model, seed)
    batch = next(iter(batches(len(splits.train), fidelity, seed)))
    targets = one_hot(splits.train.targets, task.classes)[batch]
    embeddings = model.backbone(splits.train.inputs[batch]).detach().requires_grad_()
    reference = F.cross_entropy(model.head(embeddings), targets)
    value = loss(embeddings if owns_class_weights(loss) else model.head(embeddings), targets)
    expected = _norm_of_gradient(reference, embeddings)
    found = _norm_of_gradient(value, embeddings)
    if not math.isfinite(found) or found < 1e-12 * expected:
        raise TrainingFailed(f"the first gradient at the embedding has size {found:g}")
    return float(f"{expected / found:.6g}")


def _norm_of_gradient(value: Tensor, at: Tensor) -> float:
    if not value.requires_grad:
        return 0.0
    (gradient,) = torch.autograd.grad(value, at, allow_unused=True, materialize_grads=True)
    return float(gradient.norm())


def loss_for(formula: Formula, task: Task, fidelity: Fidelity, class_weights: str | None = None) -> FormulaLoss:
    """The module of a formula for a task, with the class frequencies of its training split.

    ``class_weights`` says where those of a loss over embeddings come from; None for a loss over logits.
    """
    options: dict[str, Any] = {}
    if formula.looks_at_embeddings:  # learned weights and centers are adopted from the model
        options = {"class_weights": class_weights or "learned", "generator": torch.Generator().manual_seed(0)}
    return loss_module(
        formula,
        num_classes=task.classes,
        embedding_size=fidelity.hidden,
        prior=class_frequencies(task),
        **options,
    )


def class_frequencies(task: Task) -> Tensor:
    """Relative class frequencies [classes] in the task's training split."""
    return one_hot(task.load().train.targets, task.classes).mean(0)


def looks_at_progress(loss: nn.Module) -> bool:
    """Whether the loss changes with training progress and must be told of it."""
    if isinstance(loss, FormulaLoss):
        return "progress" in loss.formula.names
    return hasattr(loss, "set_progress")


def owns_class_weights(loss: nn.Module) -> bool:
    """Whether the loss takes embeddings, and not logits."""
    return hasattr(loss, "get_logits")


def adopt_class_weights(loss: nn.Module, model: Model, seed: int) -> None:
    """Start the loss's class weights where the head's are, sub-centers and centers where the seed says.

    Fixed class weights stay as they are.
    """
    assert isinstance(loss.weight, nn.Parameter)
    centers = getattr(loss, "centers", None)
    kind = "sub_centers" if loss.weight.ndim == 3 else "learned" if loss.weight.requires_grad else "pedcc"
    with torch.no_grad():
        loss.weight.copy_(initial_class_weights(kind, model, seed))
        if centers is not None:
            centers.copy_(model.centers)


def initial_class_weights(kind: str, model: Model, seed: int) -> Tensor:
    """Where class weights of a kind start: fixed, or as the head's, or several for each class as the seed says."""
    classes, size = model.head.weight.shape
    if kind == "learned":
        return model.head.weight.detach()
    return ClassWeights(kind, classes, size).initial(torch.Generator().manual_seed(seed + 2))


def representation(loss: nn.Module, model: Model, inputs: Tensor) -> Tensor:
    """What the loss looks at: embeddings, or the logits that the head makes of them."""
    embeddings: Tensor = model.backbone(inputs)
    return embeddings if owns_class_weights(loss) else model.head(embeddings)


def initial_model(task: Task, fidelity: Fidelity, seed: int) -> Model:
    """The seed's initial network, head and centers."""
    generator = torch.Generator().manual_seed(seed)
    backbone = PROXIES[fidelity.network](task.shape, fidelity.hidden, generator)
    head = linear(fidelity.hidden, task.classes, generator)
    return Model(backbone, head, linear(fidelity.hidden, task.classes, generator).weight.detach())


@lru_cache(maxsize=64)
def batches(samples: int, fidelity: Fidelity, seed: int) -> tuple[Tensor, ...]:
    """Indices of each step's batch: the samples in a new random order each epoch."""
    generator = torch.Generator().manual_seed(seed + 1)
    needed = fidelity.steps * fidelity.batch_size
    epochs = [torch.randperm(samples, generator=generator) for _ in range(math.ceil(needed / samples))]
    return torch.cat(epochs)[:needed].split(fidelity.batch_size)


def one_hot(targets: Tensor, classes: int) -> Tensor:
    """Class indices [samples] as a target distribution [samples, classes]."""
    return F.one_hot(targets, classes).to(torch.float32)
