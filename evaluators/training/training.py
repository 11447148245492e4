"""Train one network under one loss and score it: data, model, train, score.

Invariant: weights and batches are those of the seed, whatever the loss. A training that is stopped and continued ends
exactly as one that is not.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lossearch.evaluators.data.splits import Split, as_numbers, with_classes
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.attached_loss import (
    adopt_class_weights,
    compute_loss_inputs,
    depends_on_progress,
    owns_class_weights,
)
from lossearch.evaluators.training.optimizers import Optimizer, Plateau
from lossearch.evaluators.training.outcome import NOT_FINITE, TrainingFailed, describe_divergence
from lossearch.evaluators.training.schedule import Schedule, move_split
from lossearch.evaluators.training.start import build_model, one_hot
from lossearch.evaluators.training.steps import report_steps


def train_and_score(
    loss: nn.Module,
    task: Task,
    fidelity: TrainingSettings,
    seed: int,
    calibration: float,
    device: torch.device | str = "cpu",
) -> float:
    """Train a network under a loss and return its fitness: the task's metric on the validation split, in [0, 1].

    ``loss`` is any module over logits and class indices or target probabilities, or one over embeddings with class
    weights and ``get_logits``. It is multiplied by ``calibration``. Raises TrainingFailed.
    """
    training = Training(loss, task, fidelity, seed, calibration, device)
    training.run(fidelity.steps)
    return training.score()


class Randomness:
    """Random draws of a network in training, such as dropout's, as a function of the seed and the step alone."""

    def __init__(self, network: nn.Module, seed: int) -> None:
        self._network, self._seed = network, seed
        dropouts = (module for module in network.modules() if isinstance(module, nn.modules.dropout._DropoutNd))
        self._draws = any(dropout.p > 0.0 for dropout in dropouts)

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Let the network draw the numbers of a step. torch's own generators are left as they were."""
        if not self._draws:
            yield
            return
        device = next(self._network.parameters()).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed((self._seed * 1_000_003 + step) % 2**63)
            yield


class Training:
    """Training of a network under one loss and one seed on a device. It can be stopped and continued."""

    def __init__(
        self,
        loss: nn.Module,
        task: Task,
        fidelity: TrainingSettings,
        seed: int,
        calibration: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.loss, self.model, self.step = loss, build_model(task, fidelity, seed), 0
        if owns_class_weights(loss):
            adopt_class_weights(loss, self.model, seed)
        self._task, self._fidelity, self._calibration = task, fidelity, calibration
        self._randomness = Randomness(self.model.backbone, seed)
        self._depends_on_progress = depends_on_progress(loss)
        self._device = torch.device(device)
        for module in (loss, self.model.backbone, self.model.head):
            module.to(self._device)
        head = [*loss.parameters(), *(() if owns_class_weights(loss) else self.model.head.parameters())]
        head_rate = fidelity.class_weight_rate if owns_class_weights(loss) else None
        self._optimizer = Optimizer(list(self.model.backbone.parameters()), head, fidelity, head_rate)
        self.parameters = self._optimizer.parameters
        self._schedule = Schedule(task, fidelity, [seed], self._device)
        self._plateau = Plateau()
        self._sums: list[Tensor] = []  # of the iterates that a score at a rung averages

    def run(self, until: int) -> None:
        """Train up to step ``until``, in place. Raises TrainingFailed if the loss is not finite."""
        averaged_from = self._fidelity.averaged_from(until)
        self._sums = []
        self.model.backbone.train()
        while self.step < until:
            with self._randomness.at(self.step):
                value = self._calibration * self._compute_loss_of_batch()
            self.step += 1
            if not math.isfinite(value.item()):
                raise TrainingFailed(describe_divergence(self.step, self._fidelity.steps, "loss"))
            rate = self._fidelity.learning_rate_at(self.step - 1) * self._plateau.scale
            self._optimizer.step(value, rate)
            self._schedule.advance()
            report_steps(1)
            if self.step > averaged_from:
                self._sum_iterates()
            if self._fidelity.schedule == "plateau" and self.step % (self._fidelity.epoch or 1) == 0:
                self._plateau.look(self.metric_on(self._task.load().validation), self._fidelity)
                self.model.backbone.train()

    def _compute_loss_of_batch(self) -> Tensor:
        """Compute the loss on the step's batch. Pixels without a class are left out."""
        if self._depends_on_progress:
            self.loss.set_progress(self.step / self._fidelity.steps)  # type: ignore[operator]
        inputs, targets = (tensor[0] for tensor in self._schedule.batch())
        mixed = self._fidelity.amp and self._device.type == "cuda"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=mixed):
            predictions = compute_loss_inputs(self.loss, self.model, inputs)
        if self._task.ignores_pixels:
            predictions, targets = with_classes(predictions, targets)
        return self.loss(predictions.float(), one_hot(targets, self._task.classes))

    def _sum_iterates(self) -> None:
        with torch.no_grad():
            self._sums = self._sums or [torch.zeros_like(parameter) for parameter in self.parameters]
            for total, parameter in zip(self._sums, self.parameters, strict=True):
                total.add_(parameter)

    def score(self) -> float:
        """Return the task's metric on the validation split. At a rung the mean of the last iterates is scored.

        Raises TrainingFailed if outputs are not finite.
        """
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
        """Return the task's metric on a split. Raises TrainingFailed if outputs are not finite."""
        split, metric = move_split(split, self._device), self._task.metric
        (outputs,) = self.compute_outputs(split.inputs, metric.looks_at)
        if not torch.isfinite(outputs).all():
            raise TrainingFailed(NOT_FINITE)
        return float(metric.score(outputs.T, split))

    @torch.no_grad()
    def compute_outputs(self, inputs: Tensor, *kinds: str) -> list[Tensor]:
        """Compute outputs of inputs, batch by batch, in the order of ``kinds``.

        A kind is "logits", [samples, classes], or "embeddings", [samples, size].
        """
        self.model.backbone.eval()
        size = 2 * self._fidelity.batch_size  # their activations take no more room than those of a training step
        parts = [self._compute_outputs_of(as_numbers(part.to(self._device)), kinds) for part in inputs.split(size)]
        return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def _compute_outputs_of(self, inputs: Tensor, kinds: Sequence[str]) -> list[Tensor]:
        embeddings: Tensor = self.model.backbone(inputs)
        return [embeddings if kind == "embeddings" else self.compute_logits(embeddings) for kind in kinds]

    def compute_logits(self, embeddings: Tensor) -> Tensor:
        """Compute logits [samples, classes] of embeddings [samples, size], by the loss or else by the head."""
        logits: Tensor = (
            self.loss.get_logits(embeddings)  # type: ignore[operator]
            if owns_class_weights(self.loss)
            else self.model.head(embeddings)
        )
        return logits

    def velocities(self) -> list[Tensor]:
        """Return the tensors that the optimiser keeps for each parameter."""
        return self._optimizer.kept_tensors()

    def buffers(self) -> list[Tensor]:
        """Return what changes besides parameters: running statistics, steps of each parameter, and the plateau."""
        return [*self._list_statistics(), self._optimizer.steps(), self._plateau.as_tensor()]

    def _list_statistics(self) -> list[Tensor]:
        return [buffer for buffer in self.model.backbone.buffers() if buffer.is_floating_point()]

    @torch.no_grad()
    def restore(
        self, step: int, weights: Sequence[Tensor], velocities: Sequence[Tensor], buffers: Sequence[Tensor] = ()
    ) -> None:
        """Continue a training that was stopped after ``step`` steps."""
        self.step = step
        self._schedule.position.fill_(step)
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.copy_(weight)
        if not buffers:  # a state of a cohort, whose parameters all moved at every step
            self._optimizer.restore(velocities, [float(step)] * len(self.parameters))
            return
        *statistics, steps, plateau = buffers
        self._optimizer.restore(velocities, steps.tolist())
        self._plateau = Plateau.of(plateau)
        for buffer, saved in zip(self._list_statistics(), statistics, strict=True):
            buffer.copy_(saved)
