"""Attach a loss to a network: build the formula's module for a task, and feed it embeddings or logits."""

from typing import Any

import torch
from torch import Tensor, nn

from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.start import Model, class_frequencies, initial_class_weights
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss, loss_module


def loss_for(formula: Formula, task: Task, fidelity: TrainingSettings, class_weights: str | None = None) -> FormulaLoss:
    """Build the module of a formula for a task, with the class frequencies of the training split.

    ``class_weights`` is the kind for a loss over embeddings ("learned" if not given), and None for one over logits.
    """
    options: dict[str, Any] = {}
    if formula.looks_at_embeddings:
        # The generator does not matter: adopt_class_weights replaces learned weights and centers.
        options = {"class_weights": class_weights or "learned", "generator": torch.Generator().manual_seed(0)}
        if class_weights == "pedcc":
            options["fine_tune_from"] = fidelity.fine_tune_from
    return loss_module(
        formula,
        num_classes=task.classes,
        embedding_size=fidelity.hidden,
        prior=class_frequencies(task),
        **options,
    )


def depends_on_progress(loss: nn.Module) -> bool:
    """Return True if the loss changes with training progress, so that ``set_progress`` must be called."""
    if isinstance(loss, FormulaLoss):
        fine_tuned = isinstance(loss, EmbeddingLoss) and loss.class_weights.fine_tune_from is not None
        return fine_tuned or "progress" in loss.formula.names
    return hasattr(loss, "set_progress")


def owns_class_weights(loss: nn.Module) -> bool:
    """Return True if the loss takes embeddings and has class weights, False if it takes logits."""
    return hasattr(loss, "get_logits")


def adopt_class_weights(loss: nn.Module, model: Model, seed: int) -> None:
    """Set the loss's class weights and centers to the initial ones of the model and the seed.

    Learned weights start as the head's. Fixed ones stay as they are.
    """
    weight, centers = getattr(loss, "weight", None), getattr(loss, "centers", None)
    with torch.no_grad():
        if isinstance(weight, nn.Parameter):
            if isinstance(loss, EmbeddingLoss):
                kind = loss.class_weights.kind
            else:  # an exported loss names no kind: its weights show it
                kind = "sub_centers" if weight.ndim == 3 else "learned" if weight.requires_grad else "pedcc"
            weight.copy_(initial_class_weights(kind, model, seed))
        if centers is not None:
            centers.copy_(model.centers)


def compute_loss_inputs(loss: nn.Module, model: Model, inputs: Tensor) -> Tensor:
    """Return what the loss takes: embeddings [samples, size], or the head's logits [samples, classes]."""
    embeddings: Tensor = model.backbone(inputs)
    return embeddings if owns_class_weights(loss) else model.head(embeddings)
