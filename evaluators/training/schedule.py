"""Schedule: what all members of a cohort see at each step, batch, learning rate and progress, on the device.

Invariant: the position is a tensor, and everything of a step is read at it, so that one recorded step serves for all.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lossearch.evaluators.data.splits import Pairs, Split, as_numbers
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.start import batches


@lru_cache(maxsize=16)
def _on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, the same at every call; tensors are told apart by identity."""
    return tensor.to(device)


def resident(split: Split, device: torch.device) -> Split:
    """The split on the device, where it stays for the cohorts to come."""
    pairs = split.pairs
    if pairs is not None:
        pairs = Pairs(*(_on_device(each, device) for each in (pairs.first, pairs.second, pairs.same)))
    return Split(_on_device(split.inputs, device), _on_device(split.targets, device), pairs)


class Schedule:
    """The batches under every seed, the learning rates and the progress, at a position that moves on."""

    def __init__(self, task: Task, fidelity: TrainingSettings, seeds: Sequence[int], device: torch.device) -> None:
        self._train = resident(task.load().train, device)
        orders = [torch.stack(batches(len(self._train), fidelity, seed)) for seed in seeds]
        self._order = torch.stack(orders, 1).to(device)
        steps = range(fidelity.steps)
        self._rates = torch.tensor([fidelity.learning_rate_at(step) for step in steps], device=device)
        self._progress = torch.tensor([step / fidelity.steps for step in steps], device=device)
        self._augmentation = Augmentation(fidelity, task.shape, seeds, device) if fidelity.augmented else None
        self.position = torch.zeros(1, dtype=torch.int64, device=device)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Inputs [seeds, batch, ...] and targets [seeds, batch] of the step, of each pixel in dense tasks."""
        chosen = self._order.index_select(0, self.position)[0]
        inputs = as_numbers(self._train.inputs[chosen])
        if self._augmentation is not None:
            inputs = self._augmentation(inputs, self.position)
        return inputs, self._train.targets[chosen].flatten(1)

    @property
    def rate(self) -> Tensor:
        """The learning rate of the step, [1]."""
        return self._rates.index_select(0, self.position)

    @property
    def progress(self) -> Tensor:
        """Training progress at the step, [1], in [0, 1)."""
        return self._progress.index_select(0, self.position)

    def advance(self) -> None:
        """Move on to the next step."""
        self.position.add_(1)


# --- Augmentation: random shifts, flips and noise of training inputs, in one batch on the device.
#
# Invariant: what is drawn depends on the seed alone, so that all candidates under a seed see the same inputs. All
# is drawn in advance, and a step reads it at its position, so that a step needs no generator.

#: Different samples of noise under one seed; each input takes one of them at random.
NOISE_SAMPLES = 512


class Augmentation:
    """What a fidelity does to the inputs of each step under each seed."""

    def __init__(
        self, fidelity: TrainingSettings, shape: Sequence[int], seeds: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        if (fidelity.shift or fidelity.flip) and len(shape) != 3:
            raise ValueError(f"Expected images to shift or flip, got inputs of shape {list(shape)}. Use noise alone.")
        self._fidelity = fidelity
        draws = [self._drawn(shape, torch.Generator().manual_seed(seed + 3)) for seed in seeds]
        self._down, self._right, self._flipped, self._noisy = (
            torch.stack([draw[k] for draw in draws], 1).to(device) for k in range(4)
        )
        self._noise = torch.stack([draw[4] for draw in draws]).to(device)

    def _drawn(self, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Of one seed: shifts down and to the right, flips and rows of noise, [steps, batch] each, and the noise."""
        fidelity = self._fidelity
        size = (fidelity.steps, fidelity.batch_size)
        down, right = (torch.randint(-fidelity.shift, fidelity.shift + 1, size, generator=generator) for _ in "xy")
        flipped = torch.rand(size, generator=generator) < 0.5
        noisy = torch.randint(0, NOISE_SAMPLES, size, generator=generator)
        noise = torch.randn(NOISE_SAMPLES if fidelity.noise else 1, *shape, generator=generator) * fidelity.noise
        return down, right, flipped, noisy, noise

    def __call__(self, inputs: Tensor, position: Tensor) -> Tensor:
        """The inputs [seeds, batch, ...] of the step at a position [1], augmented; images are continued at edges."""
        fidelity = self._fidelity
        if fidelity.shift or fidelity.flip:
            inputs = self._moved(inputs, position)
        if fidelity.noise:
            rows = self._noisy.index_select(0, position)[0]
            flat = self._noise.flatten(2)
            noise = flat.gather(1, rows.unsqueeze(2).expand(-1, -1, flat.shape[2]))
            inputs = inputs + noise.view_as(inputs)
        return inputs

    def _moved(self, inputs: Tensor, position: Tensor) -> Tensor:
        height, width = inputs.shape[-2:]
        down, right, flipped = (
            each.index_select(0, position)[0].unsqueeze(2) for each in (self._down, self._right, self._flipped)
        )
        rows = (torch.arange(height, device=inputs.device) - down).clamp(0, height - 1)
        columns = (torch.arange(width, device=inputs.device) - right).clamp(0, width - 1)
        if self._fidelity.flip:
            columns = torch.where(flipped, width - 1 - columns, columns)
        moved = inputs.gather(3, rows[:, :, None, :, None].expand_as(inputs))
        return moved.gather(4, columns[:, :, None, None, :].expand_as(inputs))
