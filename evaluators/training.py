"""Trains one network under one loss and scores it: data, model, train, score.

Invariant: weights and batches are those of the seed, whatever the loss; a training that was stopped and goes on equals
one that was not.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluators.fidelity import Fidelity
from evaluators.outcome import NOT_FINITE, diverged
from evaluators.schedule import Schedule, resident
from evaluators.splits import Split
from evaluators.start import Model, class_frequencies, initial_class_weights, initial_model, one_hot
from evaluators.tasks.task import Task
from primitives.formula import Formula
from primitives.torch_loss import FormulaLoss, loss_module


class TrainingFailed(Exception):
    """The training could not be finished; the message is the reason that is recorded."""


def train_and_score(
    loss: nn.Module,
    task: Task,
    fidelity: Fidelity,
    seed: int,
    calibration: float,
    device: torch.device | str = "cpu",
) -> float:
    """Fitness of a loss after one proxy training: the task's metric on the validation split, in [0, 1].

    ``loss`` is any module over logits and class indices or target probabilities, or one over embeddings
    with class weights and ``get_logits``; it is multiplied by ``calibration``. Raises TrainingFailed.
    """
    training = Training(loss, task, fidelity, seed, calibration, device)
    training.run(fidelity.steps)
    return training.score()


class Training:
    """A network under one loss and one seed, in training on a device; it can be stopped and continued."""

    def __init__(
        self,
        loss: nn.Module,
        task: Task,
        fidelity: Fidelity,
        seed: int,
        calibration: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.loss, self.model, self.step = loss, initial_model(task, fidelity, seed), 0
        if owns_class_weights(loss):
            adopt_class_weights(loss, self.model, seed)
        self._task, self._fidelity, self._calibration = task, fidelity, calibration
        self._device = torch.device(device)
        for module in (loss, self.model.backbone, self.model.head):
            module.to(self._device)
        self.parameters = [*self.model.backbone.parameters(), *loss.parameters()]
        if not owns_class_weights(loss):
            self.parameters += self.model.head.parameters()
        self._optimizer = torch.optim.SGD(
            self.parameters, fidelity.learning_rate, fidelity.momentum, weight_decay=fidelity.weight_decay, fused=True
        )
        self._schedule = Schedule(task, fidelity, [seed], self._device)
        self._sums: list[Tensor] = []

    def run(self, until: int) -> None:
        """Train up to a stage, in place. Raises TrainingFailed where the loss is not finite."""
        averaged_from = self._fidelity.averaged_from(until)
        moves = looks_at_progress(self.loss)
        self._sums = []
        while self.step < until:
            if moves:
                self.loss.set_progress(self.step / self._fidelity.steps)  # type: ignore[operator]
            for group in self._optimizer.param_groups:
                group["lr"] = self._fidelity.learning_rate_at(self.step)
            inputs, targets = (each[0] for each in self._schedule.batch())
            seen = representation(self.loss, self.model, inputs)
            value = self._calibration * self.loss(seen, one_hot(targets, self._task.classes))
            self.step += 1
            if not math.isfinite(value.item()):
                raise TrainingFailed(diverged(self.step, self._fidelity.steps, "loss"))
            self._optimizer.zero_grad()
            value.backward()
            self._optimizer.step()
            self._schedule.advance()
            if self.step > averaged_from:
                self._add_up()

    def _add_up(self) -> None:
        with torch.no_grad():
            self._sums = self._sums or [torch.zeros_like(parameter) for parameter in self.parameters]
            for total, parameter in zip(self._sums, self.parameters, strict=True):
                total.add_(parameter)

    def score(self) -> float:
        """The task's metric on the validation split: at a rung, of the mean of the last iterates."""
        steps = self.step - self._fidelity.averaged_from(self.step)
        iterates = [parameter.data for parameter in self.parameters]
        for parameter, total in zip(self.parameters, self._sums if steps else [], strict=False):
            parameter.data = total / steps
        try:
            return self.metric_on(self._task.load().validation)
        finally:
            for parameter, iterate in zip(self.parameters, iterates, strict=True):
                parameter.data = iterate

    @torch.no_grad()
    def metric_on(self, split: Split) -> float:
        """The task's metric on a split. Raises TrainingFailed where outputs are not finite."""
        split, metric = resident(split, self._device), self._task.metric
        seen = self.seen(split.inputs, metric.looks_at)
        if not torch.isfinite(seen).all():
            raise TrainingFailed(NOT_FINITE)
        return float(metric.score(seen.T, split))

    @torch.no_grad()
    def seen(self, inputs: Tensor, what: str) -> Tensor:
        """Logits [samples, classes] or embeddings [samples, size] of inputs."""
        embeddings: Tensor = self.model.backbone(inputs)
        if what == "embeddings":
            return embeddings
        logits: Tensor = (
            self.loss.get_logits(embeddings)  # type: ignore[operator]
            if owns_class_weights(self.loss)
            else self.model.head(embeddings)
        )
        return logits

    def velocities(self) -> list[Tensor]:
        """The optimiser's velocity of each parameter; zeros where it has none yet."""
        found = []
        for parameter in self.parameters:
            velocity = self._optimizer.state[parameter].get("momentum_buffer")
            found.append(torch.zeros_like(parameter) if velocity is None else velocity)
        return found

    @torch.no_grad()
    def go_on_from(self, step: int, weights: Sequence[Tensor], velocities: Sequence[Tensor]) -> None:
        """Continue a training that was stopped."""
        self.step = step
        self._schedule.position.fill_(step)
        for parameter, weight, velocity in zip(self.parameters, weights, velocities, strict=True):
            parameter.copy_(weight)
            self._optimizer.state[parameter]["momentum_buffer"] = velocity.to(self._device, copy=True)


def calibration_factor(loss: FormulaLoss, task: Task, fidelity: Fidelity, seed: int) -> float:
    """The factor that makes the loss's first gradient at the embedding as large as cross-entropy's.

    Both are taken on the seed's first batch and initial weights. Raises TrainingFailed where the loss
    has no finite gradient there.
    """
    model = initial_model(task, fidelity, seed)
    if owns_class_weights(loss):
        adopt_class_weights(loss, model, seed)
    inputs, indices = (each[0] for each in Schedule(task, fidelity, [seed], torch.device("cpu")).batch())
    targets = one_hot(indices, task.classes)
    embeddings = model.backbone(inputs).detach().requires_grad_()
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


def representation(loss: nn.Module, model: Model, inputs: Tensor) -> Tensor:
    """What the loss looks at: embeddings, or the logits that the head makes of them."""
    embeddings: Tensor = model.backbone(inputs)
    return embeddings if owns_class_weights(loss) else model.head(embeddings)
