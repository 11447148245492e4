"""Observes one training of a loss: its course, and what the trained network makes of the validation split.

Invariant: weights and batches are those of the seed; the test split is not looked at.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.data.splits import Split, as_numbers, with_classes
from lossearch.evaluators.device import one_thread
from lossearch.evaluators.measuring.landscape import Value, directions, ratios_around, values_around
from lossearch.evaluators.measuring.measures import confusion_matrix
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.attached_loss import looks_at_progress, loss_for, representation
from lossearch.evaluators.training.calibration import Attached, calibration_factor, gradient_size
from lossearch.evaluators.training.outcome import Outputs, TrainingFailed
from lossearch.evaluators.training.start import one_hot
from lossearch.evaluators.training.training import Training
from lossearch.primitives.language.formula import Formula

#: Moments of a training at which it is looked at.
MOMENTS = 25

#: Samples that gradients and landscapes are measured on, and that embeddings are shown of.
MEASURED_ON, CURVED_ON, SHOWN = 512, 64, 500

#: Grids of the landscape along two directions, and images that maps are shown of.
VALUES_AT = tuple(each / 10 for each in range(-10, 11))
RATIOS_AT = tuple(each / 2 for each in range(-2, 3))
IMAGES = 8


@dataclass(frozen=True)
class Moment:
    """How a training stands at a step."""

    step: int
    loss: float  #: on samples of the training split, times the calibration
    fitness: float
    gradient: float  #: mean size at the embedding


@dataclass(frozen=True)
class Observed:
    """What was seen of one training."""

    course: list[Moment]
    embeddings: Tensor  #: [samples, size], of the validation split
    targets: Tensor  #: [samples]
    found: Tensor  #: classes that the network finds, [samples]; those of verification were never trained on: none
    confusion: tuple[int, ...]  #: counts on the whole split, found classes in columns; none for verification
    values: list[tuple[float, float, float]]  #: (a, b, loss) around the trained weights
    ratios: list[tuple[float, float, float]]  #: (a, b, |smallest/largest| eigenvalue of the Hessian)
    images: Tensor | None  #: [images, height, width], in [0, 1]
    maps: Tensor | None  #: likewise, where the class was seen


def observed(
    formula: Formula, class_weights: str | None, task: Task, fidelity: TrainingSettings, seed: int
) -> Observed:
    """Train a loss and observe it. Raises TrainingFailed."""
    with one_thread():
        return _observed(formula, class_weights, task, fidelity, seed)


def _observed(
    formula: Formula, class_weights: str | None, task: Task, fidelity: TrainingSettings, seed: int
) -> Observed:
    loss = loss_for(formula, task, fidelity, class_weights)
    calibration = calibration_factor(loss, task, fidelity, seed)
    watched = _Watched(Training(loss, task, fidelity, seed, calibration), task, fidelity, calibration)
    course = list(watched.course())
    embeddings, targets, found = watched.shown()
    along = directions(watched.training.parameters, torch.Generator().manual_seed(seed))
    values = values_around(watched.value(MEASURED_ON), watched.training.parameters, along, VALUES_AT)
    ratios = ratios_around(watched.value(CURVED_ON), watched.training.parameters, along, RATIOS_AT)
    return Observed(course, embeddings, targets, found, watched.confusion(), values, ratios, *watched.maps())


class _Watched:
    """A training, and the samples on which it is watched."""

    def __init__(self, training: Training, task: Task, fidelity: TrainingSettings, calibration: float) -> None:
        self.training, self._task, self._fidelity, self._calibration = training, task, fidelity, calibration
        splits = task.load()
        self._validation = splits.validation
        self._order = torch.randperm(len(splits.train), generator=torch.Generator().manual_seed(0))
        self._train = splits.train
        self._measured_on = self._part(MEASURED_ON)

    def course(self) -> Iterator[Moment]:
        """Train to the end, and tell how it stands now and then."""
        steps = self._fidelity.steps
        for step in sorted({round(steps * number / MOMENTS) for number in range(MOMENTS + 1)}):
            self.training.run(step)
            yield self._moment(step)

    def _moment(self, step: int) -> Moment:
        training, part = self.training, self._measured_on
        with torch.no_grad():
            value = float(self.value_on(part)())
            (embeddings,) = training.seen(part.inputs, "embeddings")
        attached = Attached(training.loss, training.model.head, self._calibration)
        size = gradient_size(attached, embeddings.T, part.targets.flatten())
        if not math.isfinite(value) or not math.isfinite(size):
            raise TrainingFailed(f"not finite at step {step} of {self._fidelity.steps}")
        return Moment(step, value, training.metric_on(self._validation), size)

    def _part(self, samples: int) -> Split:
        return self._train.part(self._order[: max(1, samples // self._train.targets_of_an_input)])

    def value(self, samples: int) -> Value:
        """The loss on so many samples of the training split, likewise."""
        return self.value_on(self._part(samples))

    def value_on(self, part: Split) -> Value:
        """The loss on a part of the training split, as a function of the parameters as they stand."""
        training = self.training
        inputs = as_numbers(part.inputs)

        def value() -> Tensor:
            training.model.backbone.eval()
            if looks_at_progress(training.loss):
                training.loss.set_progress(training.step / self._fidelity.steps)  # type: ignore[operator]
            seen, targets = with_classes(representation(training.loss, training.model, inputs), part.targets.flatten())
            return self._calibration * training.loss(seen, one_hot(targets, self._task.classes))

        return value

    def shown(self) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings, targets and found classes of samples of the validation split, the first ones."""
        inputs = self._validation.inputs[: max(1, SHOWN // self._validation.targets_of_an_input)]
        targets = self._validation.targets[: len(inputs)].flatten()
        embeddings, logits = self.training.seen(inputs, "embeddings", "logits")
        found = logits.argmax(1) if self._validation.pairs is None else torch.full_like(targets, -1)
        kept = targets >= 0
        return embeddings[kept], targets[kept], found[kept]

    def confusion(self) -> tuple[int, ...]:
        """Counts of true and found classes on the whole validation split."""
        if self._validation.pairs is not None:
            return ()
        embeddings, logits = self.training.seen(self._validation.inputs, "embeddings", "logits")
        return confusion_matrix(Outputs(logits.T, embeddings.T), self._validation)

    def maps(self) -> tuple[Tensor | None, Tensor | None]:
        """Images of the validation split, and where their classes were seen; none where inputs are no images."""
        images = as_numbers(self._validation.inputs[:IMAGES])
        if images.ndim != 4 or self._task.dense:
            return None, None
        maps = class_maps(self.training.model.backbone, self.training.logits, images)
        grey = images.mean(1)
        low, high = grey.amin((1, 2), keepdim=True), grey.amax((1, 2), keepdim=True)
        return (None, None) if maps is None else ((grey - low) / (high - low).clamp_min(1e-12), maps)


# --- Class maps: where in an image a network sees the class that it finds (Grad-CAM; Selvaraju et al., ICCV 2017).


def class_maps(backbone: nn.Module, logits_of: Callable[[Tensor], Tensor], images: Tensor) -> Tensor | None:
    """Maps in [0, 1] of images [batch, channels, height, width], [batch, height, width]; None without feature maps.

    The feature maps are the last of the network, weighted by the gradient of the logit of the class that is found, and
    enlarged to the images.
    """
    seen: list[Tensor] = []

    def look(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[0] == len(images):
            seen.append(output)

    hooks = [each.register_forward_hook(look) for each in backbone.modules() if not list(each.children())]
    backbone.eval()
    try:
        logits = logits_of(backbone(images))
    finally:
        for hook in hooks:
            hook.remove()
    if not seen or len(logits) != len(images):
        return None
    (gradient,) = torch.autograd.grad(logits.max(1).values.sum(), seen[-1])
    weighted = F.relu((gradient.mean((2, 3), keepdim=True) * seen[-1]).sum(1, keepdim=True))
    maps = F.interpolate(weighted, images.shape[2:], mode="bilinear", align_corners=False)[:, 0].detach()
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)
