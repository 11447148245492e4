"""Loss modules: a formula compiled to torch, over logits or over embeddings."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from primitives.formula import Formula, FormulaError, number_text
from primitives.lowering import lower
from primitives.shapes import Shape

REDUCTIONS = ("mean", "sum", "none")


class FormulaLoss(nn.Module):
    """What LogitLoss and EmbeddingLoss share: the program, the target, the reduction, progress and prior."""

    progress: Tensor
    prior: Tensor | None

    def __init__(
        self,
        formula: Formula,
        hyperparameters: Mapping[str, float] | None = None,
        *,
        reduction: str = "mean",
        ignore_index: int = -100,
        scale: float = 1.0,
        prior: Tensor | None = None,
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"Expected reduction to be one of {', '.join(REDUCTIONS)}, got {reduction!r}.")
        if isinstance(ignore_index, bool) or not isinstance(ignore_index, int):
            raise ValueError(f"Expected ignore_index to be a whole number, got {ignore_index!r}.")
        self.formula = formula
        self.hyperparameters = dict(hyperparameters or {})
        bound = formula.bind(self.hyperparameters)
        if bound.hyperparameters:
            missing = ", ".join(sorted(bound.hyperparameters))
            raise ValueError(f"Expected a value for each hyper-parameter, got none for {missing}. Give {missing}=...")
        if "prior" in formula.names and prior is None:
            raise ValueError("Expected prior, the class frequencies [classes]: the formula looks at it. Give prior=...")
        self.reduction = reduction
        self.ignore_index = ignore_index
        self.scale = scale
        self._program = lower(bound)
        self.register_buffer("progress", torch.tensor(0.0), persistent=False)
        self.register_buffer(
            "prior", None if prior is None else torch.as_tensor(prior, dtype=torch.get_default_dtype())
        )

    def set_progress(self, progress: float) -> None:
        """Tell the loss how far the training is, in [0, 1]; only formulas that look at it change."""
        if not 0.0 <= progress <= 1.0:
            raise ValueError(f"Expected progress in [0, 1], got {progress}.")
        self.progress.fill_(progress)

    def extra_repr(self) -> str:
        values = "".join(f", {name}={number_text(value)}" for name, value in self.hyperparameters.items())
        return f"'{self.formula}'{values}, reduction='{self.reduction}'"

    def _reduced(self, inputs: dict[str, Any], logits: Tensor, target: Tensor) -> Tensor:
        """The formula's value over a batch, reduced.

        ``logits`` [batch, classes, ...] gives shape, dtype and device; ``target`` holds class indices
        [batch, ...] or probabilities of the logits' shape.
        """
        y, kept = self._target(logits, target)
        inputs["y"] = y
        needed = self._program.inputs
        if "counted" in needed:
            inputs["counted"] = kept.to(logits.dtype)
        if "num_classes" in needed:
            inputs["num_classes"] = logits.new_tensor(float(logits.shape[1]))
        if "progress" in needed:
            inputs["progress"] = self.progress.to(logits)
        if "class_frequencies" in needed and self.prior is not None:
            inputs["class_frequencies"] = self.prior.to(logits)
        value = self.scale * self._program.run(inputs)
        if self._program.shape is Shape.CLASS:
            value = (value + torch.zeros_like(y)).mean(1, keepdim=True)
        per_sample = torch.where(kept, value, 0.0).squeeze(1)
        if self.reduction == "none":
            return per_sample
        total = per_sample.sum()
        return total if self.reduction == "sum" else total / kept.sum()

    def _target(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Target distribution in the logits' shape, and which samples count, [batch, 1, ...].

        A sample that does not count gets some target: its value is left out.
        """
        if target.is_floating_point():
            if target.shape != logits.shape:
                raise ValueError(
                    f"Expected target probabilities of shape {list(logits.shape)}, got {list(target.shape)}."
                )
            return target.to(logits.dtype), torch.ones_like(logits[:, :1], dtype=torch.bool)
        if target.shape != logits.shape[:1] + logits.shape[2:]:
            raise ValueError(
                f"Expected class indices of shape {[logits.shape[0], *logits.shape[2:]]}, got {list(target.shape)}."
            )
        index = target.unsqueeze(1).long()
        kept = index != self.ignore_index
        return torch.zeros_like(logits).scatter(1, index.masked_fill(~kept, 0), 1.0), kept

    def _without_ignored(self, inputs: Tensor, target: Tensor) -> Tensor:
        """The inputs with zeros in the place of ignored samples, which may hold anything."""
        if target.is_floating_point() or target.shape != inputs.shape[:1] + inputs.shape[2:]:
            return inputs
        return inputs.masked_fill((target == self.ignore_index).unsqueeze(1), 0.0)


class LogitLoss(FormulaLoss):
    """A loss over logits, with the calling convention of ``torch.nn.CrossEntropyLoss``.

    ``forward(logits, target)`` takes logits [batch, classes] or [batch, classes, d1, ...] and a target of
    class indices [batch, d1, ...] or of probabilities in the logits' shape. The loss is computed in
    float32 at least. Raises ValueError where a shape is another one.
    """

    def __init__(self, formula: Formula, hyperparameters: Mapping[str, float] | None = None, **options: Any) -> None:
        if formula.looks_at_embeddings:
            raise FormulaError("The formula looks at embeddings: expected an EmbeddingLoss, with num_classes=...")
        super().__init__(formula, hyperparameters, **options)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if logits.ndim < 2:
            raise ValueError(
                f"Expected logits of shape [batch, classes, ...], got {list(logits.shape)}. Add a class axis."
            )
        _require_floating(logits, "logits")
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
            return self._reduced({"z": self._without_ignored(logits, target)}, logits, target)


class EmbeddingLoss(FormulaLoss):
    """A loss over embeddings that owns class weights, with the habits of pytorch-metric-learning.

    ``forward(embeddings, labels)`` takes embeddings [batch, embedding_size] and class indices [batch] or
    probabilities [batch, num_classes]. Parameters: ``weight`` [num_classes, embedding_size], and
    ``centers`` of the same shape where the formula looks at ``dist2``; list them for an optimiser.
    Raises ValueError where a shape is another one.
    """

    centers: nn.Parameter | None

    def __init__(
        self,
        formula: Formula,
        hyperparameters: Mapping[str, float] | None = None,
        *,
        num_classes: int,
        embedding_size: int,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(formula, hyperparameters, **options)
        for name, value in (("num_classes", num_classes), ("embedding_size", embedding_size)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"Expected {name} to be a whole number above 0, got {value!r}.")
        self.num_classes, self.embedding_size = num_classes, embedding_size
        self.weight = nn.Parameter(_class_vectors(num_classes, embedding_size, generator))
        centers = nn.Parameter(_class_vectors(num_classes, embedding_size, generator))
        self.register_parameter("centers", centers if "dist2" in formula.names else None)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.embedding_size:
            raise ValueError(
                f"Expected embeddings of shape [batch, {self.embedding_size}], got {list(embeddings.shape)}."
            )
        _require_floating(embeddings, "embeddings")
        with torch.autocast(embeddings.device.type, enabled=False):
            half = embeddings.dtype in (torch.float16, torch.bfloat16)
            embeddings = embeddings.float() if half else embeddings
            weight = self.weight.to(embeddings.dtype)
            centers = None if self.centers is None else self.centers.to(embeddings.dtype)
            embeddings = self._without_ignored(embeddings, labels)
            logits = F.linear(embeddings, weight)
            inputs = {"embeddings": embeddings, "weight": weight, "centers": centers, "z": logits}
            return self._reduced(inputs, logits, labels)

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Scores [batch, num_classes] whose largest is the predicted class.

        The cosine where the formula looks at it, else the product with the class weights where it looks
        at logits, else minus the squared distance to the class centers.
        """
        looks_at = self.formula.names
        names = [name for name in ("cosine", "z", "p", "dist2") if name in looks_at]
        chosen = names[0] if names else "z"
        if chosen == "cosine":
            return F.normalize(embeddings, dim=1) @ F.normalize(self.weight, dim=1).T
        if chosen == "dist2":
            assert self.centers is not None
            return -torch.cdist(embeddings, self.centers).square()
        return F.linear(embeddings, self.weight)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, num_classes={self.num_classes}, embedding_size={self.embedding_size}"


def _require_floating(inputs: Tensor, name: str) -> None:
    if not inputs.is_floating_point():
        raise ValueError(f"Expected floating-point {name}, got {inputs.dtype}. Convert them with .float().")


def _class_vectors(classes: int, size: int, generator: torch.Generator | None) -> Tensor:
    """Initial class weights, uniform in +-1/sqrt(size) as in torch.nn.Linear."""
    return (2.0 * torch.rand(classes, size, generator=generator) - 1.0) / size**0.5


def loss_module(
    formula: Formula,
    hyperparameters: Mapping[str, float] | None = None,
    *,
    num_classes: int | None = None,
    embedding_size: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> FormulaLoss:
    """The module of a formula: an EmbeddingLoss where it looks at embeddings, else a LogitLoss.

    ``generator`` draws an EmbeddingLoss's initial class weights; the other options are the module's own.
    Raises ValueError where an EmbeddingLoss lacks num_classes or embedding_size.
    """
    if not formula.looks_at_embeddings:
        return LogitLoss(formula, hyperparameters, **options)
    if num_classes is None or embedding_size is None:
        raise ValueError(
            "Expected num_classes=... and embedding_size=...: the formula looks at embeddings, "
            "and its module owns a weight for each class."
        )
    return EmbeddingLoss(
        formula,
        hyperparameters,
        num_classes=num_classes,
        embedding_size=embedding_size,
        generator=generator,
        **options,
    )
