"""Trains one network under one loss and scores it: data, model, train, score.

Invariant: weights and batches are those of the seed, whatever the loss; a training that was stopped and goes on equals
one that was not.
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
    looks_at_progress,
    owns_class_weights,
    representation,
)
from lossearch.evaluators.training.optimizers import Optimizer, Plateau
from lossearch.evaluators.training.outcome import NOT_FINITE, TrainingFailed, diverged
from lossearch.evaluators.training.schedule import Schedule, resident
from lossearch.evaluators.training.start import initial_model, one_hot


def train_and_score(
    loss: nn.Module,
    task: Task,
    fidelity: TrainingSettings,
    seed: int,
    calibration: float,
    device: torch.device | str = "cpu",
) -> float:
    """Fitness of a loss after one training: the task's metric on the validation split, in [0, 1].

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
        fidelity: TrainingSettings,
        seed: int,
        calibration: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.loss, self.model, self.step = loss, initial_model(task, fidelity, seed), 0
        if owns_class_weights(loss):
            adopt_class_weights(loss, self.model, seed)
        self._task, self._fidelity, self._calibration = task, fidelity, calibration
        self._randomness, self._moves = Randomness(self.model.backbone, seed), looks_at_progress(loss)
        self._device = torch.device(device)
        for module in (loss, self.model.backbone, self.model.head):
            module.to(self._device)
        head = [*loss.parameters(), *(() if owns_class_weights(loss) else self.model.head.parameters())]
        own_rate = fidelity.class_weight_rate if owns_class_weights(loss) else None
        self._optimizer = Optimizer(list(self.model.backbone.parameters()), head, fidelity, own_rate)
        self.parameters = self._optimizer.parameters
        self._schedule = Schedule(task, fidelity, [seed], self._device)
        self._plateau = Plateau()
        self._sums: list[Tensor] = []

    def run(self, until: int) -> None:
        """Train up to a stage, in place. Raises TrainingFailed where the loss is not finite."""
        averaged_from = self._fidelity.averaged_from(until)
        self._sums = []
        self.model.backbone.train()
        while self.step < until:
            with self._randomness.at(self.step):
                value = self._calibration * self._loss_of_batch()
            self.step += 1
            if not math.isfinite(value.item()):
                raise TrainingFailed(diverged(self.step, self._fidelity.steps, "loss"))
            rate = self._fidelity.learning_rate_at(self.step - 1) * self._plateau.scale
            self._optimizer.step(value, rate)
            self._schedule.advance()
            if self.step > averaged_from:
                self._add_up()
            if self._fidelity.schedule == "plateau" and self.step % (self._fidelity.epoch or 1) == 0:
                self._plateau.look(self.metric_on(self._task.load().validation), self._fidelity)
                self.model.backbone.train()

    def _loss_of_batch(self) -> Tensor:
        """The loss on the step's batch; pixels without a class are left out."""
        if self._moves:
            self.loss.set_progress(self.step / self._fidelity.steps)  # type: ignore[operator]
        inputs, targets = (each[0] for each in self._schedule.batch())
        mixed = self._fidelity.amp and self._device.type == "cuda"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=mixed):
            seen = representation(self.loss, self.model, inputs)
        if self._task.ignores_pixels:
            seen, targets = with_classes(seen, targets)
        return self.loss(seen.float(), one_hot(targets, self._task.classes))

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
        (seen,) = self.seen(split.inputs, metric.looks_at)
        if not torch.isfinite(seen).all():
            raise TrainingFailed(NOT_FINITE)
        return float(metric.score(seen.T, split))

    @torch.no_grad()
    def seen(self, inputs: Tensor, *what: str) -> list[Tensor]:
        """Of what is asked for, logits [samples, classes] and embeddings [samples, size] of inputs, batch by batch."""
        self.model.backbone.eval()
        parts = [self._seen_of(as_numbers(part.to(self._device)), what) for part in inputs.split(self._at_once)]
        return [torch.cat(each) for each in zip(*parts, strict=True)]

    @property
    def _at_once(self) -> int:
        """Inputs that are looked at together; their activations take no more room than those of a training step."""
        return 2 * self._fidelity.batch_size

    def _seen_of(self, inputs: Tensor, what: Sequence[str]) -> list[Tensor]:
        embeddings: Tensor = self.model.backbone(inputs)
        return [embeddings if each == "embeddings" else self.logits(embeddings) for each in what]

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits [samples, classes] of embeddings [samples, size], by the loss's class weights where it has some."""
        logits: Tensor = (
            self.loss.get_logits(embeddings)  # type: ignore[operator]
            if owns_class_weights(self.loss)
            else self.model.head(embeddings)
        )
        return logits

    def velocities(self) -> list[Tensor]:
        """What the optimiser keeps for each parameter; zeros where it has nothing yet."""
        return self._optimizer.kept()

    def buffers(self) -> list[Tensor]:
        """What goes on beside parameters: running statistics, how often each was moved, and the plateau's state."""
        return [*self._statistics(), self._optimizer.steps(), self._plateau.as_tensor()]

    def _statistics(self) -> list[Tensor]:
        return [each for each in self.model.backbone.buffers() if each.is_floating_point()]

    @torch.no_grad()
    def go_on_from(
        self, step: int, weights: Sequence[Tensor], velocities: Sequence[Tensor], buffers: Sequence[Tensor] = ()
    ) -> None:
        """Continue a training that was stopped."""
        self.step = step
        self._schedule.position.fill_(step)
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.copy_(weight)
        if not buffers:
            self._optimizer.restore(velocities, [float(step)] * len(self.parameters))
            return
        *statistics, steps, plateau = buffers
        self._optimizer.restore(velocities, steps.tolist())
        self._plateau = Plateau.of(plateau)
        for mine, theirs in zip(self._statistics(), statistics, strict=True):
            mine.copy_(theirs)


# --- Randomness of a training step where a network draws some, as dropout does: of the seed and the step alone.


class Randomness:
    """What a network draws under a seed; a training that was stopped and goes on draws as one that was not."""

    def __init__(self, network: nn.Module, seed: int) -> None:
        self._network, self._seed = network, seed
        dropouts = (each for each in network.modules() if isinstance(each, nn.modules.dropout._DropoutNd))
        self._draws = any(each.p > 0.0 for each in dropouts)

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Let what the network draws depend on the step; torch's generators are left as they were."""
        if not self._draws:
            yield
            return
        device = next(self._network.parameters()).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed((self._seed * 1_000_003 + step) % 2**63)
            yield
