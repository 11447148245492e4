"""Schedule: what all members of a cohort see at each step, batch, learning rate and progress, on the device.

Invariant: the position is a tensor, and everything of a step is read at it, so that one recorded step serves for all.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lossearch.evaluators.augmentation import Augmentation
from lossearch.evaluators.fidelity import Fidelity
from lossearch.evaluators.splits import Pairs, Split, as_numbers
from lossearch.evaluators.start import batches
from lossearch.evaluators.tasks.task import Task


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

    def __init__(self, task: Task, fidelity: Fidelity, seeds: Sequence[int], device: torch.device) -> None:
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
