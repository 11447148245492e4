"""Schedule: the batch, the learning rate and the progress of each training step, on the device.

Invariant: the position is a tensor, and everything that a step needs is drawn in advance and read at that position. A
GPU can then record one step and replay it for all. What is drawn depends on the seed alone, so that all candidates
under a seed see the same inputs.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lossearch.evaluators.data.splits import Pairs, Split, as_numbers
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.start import draw_batches

#: Different samples of noise under one seed. Each input takes one of them at random.
NOISE_SAMPLES = 512


class Schedule:
    """Batches under every seed, learning rates and progress, at a position that moves on."""

    def __init__(self, task: Task, fidelity: TrainingSettings, seeds: Sequence[int], device: torch.device) -> None:
        self._train = move_split(task.load().train, device)
        orders = [torch.stack(draw_batches(len(self._train), fidelity, seed)) for seed in seeds]
        self._order = torch.stack(orders, 1).to(device)
        steps = range(fidelity.steps)
        self._rates = torch.tensor([fidelity.learning_rate_at(step) for step in steps], device=device)
        self._progress = torch.tensor([step / fidelity.steps for step in steps], device=device)
        self._augmentation = Augmentation(fidelity, task.shape, seeds, device) if fidelity.augmented else None
        self.position = torch.zeros(1, dtype=torch.int64, device=device)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return the step's inputs [seeds, batch, ...] and targets [seeds, batch].

        In dense tasks the targets are those of the pixels, [seeds, batch*height*width].
        """
        rows = self._order.index_select(0, self.position)[0]
        inputs = as_numbers(self._train.inputs[rows])
        if self._augmentation is not None:
            inputs = self._augmentation(inputs, self.position)
        return inputs, self._train.targets[rows].flatten(1)

    @property
    def rate(self) -> Tensor:
        """Learning rate of the step, [1]."""
        return self._rates.index_select(0, self.position)

    @property
    def progress(self) -> Tensor:
        """Training progress at the step, [1], in [0, 1)."""
        return self._progress.index_select(0, self.position)

    def advance(self) -> None:
        """Move on to the next step."""
        self.position.add_(1)


class Augmentation:
    """Random shifts, flips and noise for the inputs of each step under each seed, in one batch on the device.

    Raises ValueError if the fidelity shifts or flips inputs that are not images [channels, height, width].
    """

    def __init__(
        self, fidelity: TrainingSettings, shape: Sequence[int], seeds: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        if (fidelity.shift or fidelity.flip) and len(shape) != 3:
            raise ValueError(f"Expected images to shift or flip, got inputs of shape {list(shape)}. Use noise alone.")
        self._fidelity = fidelity
        draws = [self._draw(shape, torch.Generator().manual_seed(seed + 3)) for seed in seeds]
        self._down, self._right, self._flipped, self._noise_rows = (
            torch.stack([draw[place] for draw in draws], 1).to(device) for place in range(4)
        )
        self._noise = torch.stack([draw[4] for draw in draws]).to(device)

    def _draw(self, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw one seed's shifts down and to the right, flips and rows of noise, [steps, batch] each, and the noise."""
        fidelity = self._fidelity
        size = (fidelity.steps, fidelity.batch_size)
        down, right = (torch.randint(-fidelity.shift, fidelity.shift + 1, size, generator=generator) for _ in "xy")
        flipped = torch.rand(size, generator=generator) < 0.5
        noise_rows = torch.randint(0, NOISE_SAMPLES, size, generator=generator)
        noise = torch.randn(NOISE_SAMPLES if fidelity.noise else 1, *shape, generator=generator) * fidelity.noise
        return down, right, flipped, noise_rows, noise

    def __call__(self, inputs: Tensor, position: Tensor) -> Tensor:
        """Augment the inputs [seeds, batch, ...] of the step at a position [1]. Edge pixels fill what a shift opens."""
        fidelity = self._fidelity
        if fidelity.shift or fidelity.flip:
            inputs = self._shift_and_flip(inputs, position)
        if fidelity.noise:
            rows = self._noise_rows.index_select(0, position)[0]
            flat = self._noise.flatten(2)
            noise = flat.gather(1, rows.unsqueeze(2).expand(-1, -1, flat.shape[2]))
            inputs = inputs + noise.view_as(inputs)
        return inputs

    def _shift_and_flip(self, inputs: Tensor, position: Tensor) -> Tensor:
        height, width = inputs.shape[-2:]
        down, right, flipped = (
            draws.index_select(0, position)[0].unsqueeze(2) for draws in (self._down, self._right, self._flipped)
        )
        rows = (torch.arange(height, device=inputs.device) - down).clamp(0, height - 1)
        columns = (torch.arange(width, device=inputs.device) - right).clamp(0, width - 1)
        if self._fidelity.flip:
            columns = torch.where(flipped, width - 1 - columns, columns)
        shifted = inputs.gather(3, rows[:, :, None, :, None].expand_as(inputs))
        return shifted.gather(4, columns[:, :, None, None, :].expand_as(inputs))


def move_split(split: Split, device: torch.device) -> Split:
    """Move a split to the device, where it stays for later trainings."""
    pairs = split.pairs
    if pairs is not None:
        pairs = Pairs(*(_move(tensor, device) for tensor in (pairs.first, pairs.second, pairs.same)))
    return Split(_move(split.inputs, device), _move(split.targets, device), pairs)


@lru_cache(maxsize=16)  # by the identity of the tensor
def _move(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device)
