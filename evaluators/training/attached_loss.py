"""A loss attached to a network: the module of a formula for a task, and what it looks at of a model."""

from typing import Any

import torch
from torch import Tensor, nn

from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.start import Model, class_frequencies, initial_class_weights
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss, loss_module


def loss_for(formula: Formula, task: Task, fidelity: TrainingSettings, class_weights: str | None = None) -> FormulaLoss:
    """The module of a formula for a task, with the class frequencies of its training split.

    ``class_weights`` says where those of a loss over embeddings come from; None for a loss over logits.
    """
    options: dict[str, Any] = {}
    if formula.looks_at_embeddings:  # learned weights and centers are adopted from the model
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


def looks_at_progress(loss: nn.Module) -> bool:
    """Whether the loss changes with training progress and must be told of it."""
    if isinstance(loss, FormulaLoss):
        fine_tuned = isinstance(loss, EmbeddingLoss) and loss.class_weights.fine_tune_from is not None
        return fine_tuned or "progress" in loss.formula.names
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
    if isinstance(loss, EmbeddingLoss):
        kind = loss.class_weights.kind
    else:  # an exported one
        kind = "sub_centers" if loss.weight.ndim == 3 else "learned" if loss.weight.requires_grad else "pedcc"
    with torch.no_grad():
        loss.weight.copy_(initial_class_weights(kind, model, seed))
        if centers is not None:
            centers.copy_(model.centers)


def representation(loss: nn.Module, model: Model, inputs: Tensor) -> Tensor:
    """What the loss looks at: embeddings, or the logits that the head makes of them."""
    embeddings: Tensor = model.backbone(inputs)
    return embeddings if owns_class_weights(loss) else model.head(embeddings)
