"""Observe one training of a loss: its course, the trained network's outputs, and the landscape around its weights.

Invariant: weights and batches are those of the seed, and the test split is never read.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.data.splits import Split, as_numbers, with_classes
from lossearch.evaluators.device import one_thread
from lossearch.evaluators.measuring.landscape import Value, draw_directions, ratios_around, values_around
from lossearch.evaluators.measuring.measures import confusion_matrix
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.attached_loss import compute_loss_inputs, depends_on_progress, loss_for
from lossearch.evaluators.training.calibration import AttachedLoss, calibration_factor, gradient_size
from lossearch.evaluators.training.outcome import Outputs, TrainingFailed
from lossearch.evaluators.training.start import one_hot
from lossearch.evaluators.training.training import Training
from lossearch.primitives.language.formula import Formula

#: Number of moments at which a training is observed, besides its start.
MOMENTS = 25

#: Training samples for the loss and its gradient, training samples for the Hessian, and validation samples whose
#: embeddings are shown.
MEASURED_ON, CURVED_ON, SHOWN = 512, 64, 500

#: Grids of the landscape along two directions.
VALUES_AT = tuple(tenths / 10 for tenths in range(-10, 11))
RATIOS_AT = tuple(halves / 2 for halves in range(-2, 3))

#: Validation images that class maps are shown of.
IMAGES = 8


@dataclass(frozen=True)
class Moment:
    """A training at one step."""

    step: int
    loss: float  #: on samples of the training split, times the calibration
    fitness: float
    gradient: float  #: mean size at the embedding


@dataclass(frozen=True)
class ObservedTraining:
    """Everything that was observed of one training. Outputs are of the validation split."""

    course: list[Moment]
    embeddings: Tensor  #: [samples, size]
    targets: Tensor  #: [samples]
    predicted: Tensor  #: predicted classes, [samples]; -1 for verification, whose classes were never trained on
    confusion: tuple[int, ...]  #: counts on the whole split, predicted classes in columns; empty for verification
    values: list[tuple[float, float, float]]  #: (a, b, loss) around the trained weights
    ratios: list[tuple[float, float, float]]  #: (a, b, |smallest/largest| eigenvalue of the Hessian)
    images: Tensor | None  #: [images, height, width], in [0, 1]
    maps: Tensor | None  #: class maps of the images, in the same shape and range


def observe_training(
    formula: Formula, class_weights: str | None, task: Task, fidelity: TrainingSettings, seed: int
) -> ObservedTraining:
    """Train a loss on one thread and observe it. Raises TrainingFailed."""
    with one_thread():
        loss = loss_for(formula, task, fidelity, class_weights)
        calibration = calibration_factor(loss, task, fidelity, seed)
        observer = _Observer(Training(loss, task, fidelity, seed, calibration), task, fidelity, calibration)
        course = list(observer.train())
        embeddings, targets, predicted = observer.sample_embeddings()
        parameters = observer.training.parameters
        directions = draw_directions(parameters, torch.Generator().manual_seed(seed))
        values = values_around(observer.loss_on_samples(MEASURED_ON), parameters, directions, VALUES_AT)
        ratios = ratios_around(observer.loss_on_samples(CURVED_ON), parameters, directions, RATIOS_AT)
        confusion = observer.confusion()
        images, maps = observer.map_classes()
    return ObservedTraining(course, embeddings, targets, predicted, confusion, values, ratios, images, maps)


class _Observer:
    """Observer of a training, with the samples that it is observed on."""

    def __init__(self, training: Training, task: Task, fidelity: TrainingSettings, calibration: float) -> None:
        self.training, self._task, self._fidelity, self._calibration = training, task, fidelity, calibration
        splits = task.load()
        self._train, self._validation = splits.train, splits.validation
        self._order = torch.randperm(len(splits.train), generator=torch.Generator().manual_seed(0))
        self._measured_on = self._take_samples(MEASURED_ON)

    def train(self) -> Iterator[Moment]:
        """Train to the end, and yield the moments along the way."""
        steps = self._fidelity.steps
        for step in sorted({round(steps * number / MOMENTS) for number in range(MOMENTS + 1)}):
            self.training.run(step)
            yield self._observe_moment(step)

    def _observe_moment(self, step: int) -> Moment:
        training, samples = self.training, self._measured_on
        with torch.no_grad():
            value = float(self._make_loss_on(samples)())
            (embeddings,) = training.compute_outputs(samples.inputs, "embeddings")
        attached = AttachedLoss(training.loss, training.model.head, self._calibration)
        size = gradient_size(attached, embeddings.T, samples.targets.flatten())
        if not math.isfinite(value) or not math.isfinite(size):
            raise TrainingFailed(f"not finite at step {step} of {self._fidelity.steps}")
        return Moment(step, value, training.metric_on(self._validation), size)

    def _take_samples(self, count: int) -> Split:
        """Take random samples of the training split; in dense tasks, images with ``count`` pixels in all."""
        return self._train.part(self._order[: max(1, count // self._train.targets_of_an_input)])

    def loss_on_samples(self, count: int) -> Value:
        """Return the function that computes the loss on ``count`` training samples at the current parameters."""
        return self._make_loss_on(self._take_samples(count))

    def _make_loss_on(self, samples: Split) -> Value:
        training = self.training
        inputs = as_numbers(samples.inputs)

        def compute_loss() -> Tensor:
            training.model.backbone.eval()
            if depends_on_progress(training.loss):
                training.loss.set_progress(training.step / self._fidelity.steps)  # type: ignore[operator]
            predictions = compute_loss_inputs(training.loss, training.model, inputs)
            predictions, targets = with_classes(predictions, samples.targets.flatten())
            return self._calibration * training.loss(predictions, one_hot(targets, self._task.classes))

        return compute_loss

    def sample_embeddings(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return embeddings, targets and predicted classes of the first samples of the validation split."""
        inputs = self._validation.inputs[: max(1, SHOWN // self._validation.targets_of_an_input)]
        targets = self._validation.targets[: len(inputs)].flatten()
        embeddings, logits = self.training.compute_outputs(inputs, "embeddings", "logits")
        predicted = logits.argmax(1) if self._validation.pairs is None else torch.full_like(targets, -1)
        has_class = targets >= 0
        return embeddings[has_class], targets[has_class], predicted[has_class]

    def confusion(self) -> tuple[int, ...]:
        """Count true and predicted classes on the whole validation split; empty for verification."""
        if self._validation.pairs is not None:
            return ()
        embeddings, logits = self.training.compute_outputs(self._validation.inputs, "embeddings", "logits")
        return confusion_matrix(Outputs(logits.T, embeddings.T), self._validation)

    def map_classes(self) -> tuple[Tensor | None, Tensor | None]:
        """Return grey images of the validation split and their class maps; None if there are no maps."""
        images = as_numbers(self._validation.inputs[:IMAGES])
        if images.ndim != 4 or self._task.dense:
            return None, None
        maps = class_maps(self.training.model.backbone, self.training.compute_logits, images)
        if maps is None:
            return None, None
        grey = images.mean(1)
        low, high = grey.amin((1, 2), keepdim=True), grey.amax((1, 2), keepdim=True)
        return (grey - low) / (high - low).clamp_min(1e-12), maps


def class_maps(backbone: nn.Module, logits_of: Callable[[Tensor], Tensor], images: Tensor) -> Tensor | None:
    """Compute where in each image a network sees the class that it predicts (Grad-CAM; Selvaraju et al., ICCV 2017).

    Takes images [batch, channels, height, width] and returns maps [batch, height, width] in [0, 1]: the last feature
    maps of the network, weighted by the gradient of the predicted class's logit and enlarged to the images. Returns
    None for a network without feature maps.
    """
    feature_maps: list[Tensor] = []

    def keep_feature_map(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[0] == len(images):
            feature_maps.append(output)

    leaves = [module for module in backbone.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(keep_feature_map) for module in leaves]
    backbone.eval()
    try:
        logits = logits_of(backbone(images))
    finally:
        for hook in hooks:
            hook.remove()
    if not feature_maps or len(logits) != len(images):
        return None
    (gradient,) = torch.autograd.grad(logits.max(1).values.sum(), feature_maps[-1])
    weighted = F.relu((gradient.mean((2, 3), keepdim=True) * feature_maps[-1]).sum(1, keepdim=True))
    maps = F.interpolate(weighted, images.shape[2:], mode="bilinear", align_corners=False)[:, 0].detach()
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)
