"""Samples of a data set: one part of them, and the parts that a search may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """Pairs of samples to verify: rows of the first and second samples [pairs], and marks of one class [pairs]."""

    first: Tensor
    second: Tensor
    same: Tensor

    def __len__(self) -> int:
        return len(self.same)


@dataclass(frozen=True)
class Split:
    """Inputs [samples, ...] and class indices [samples], or class indices of every pixel [samples, height, width].

    Inputs are floating-point numbers or image bytes. A pixel with a negative target has no class and is ignored.
    ``pairs`` is set if identities that no training has seen are verified.
    """

    inputs: Tensor
    targets: Tensor
    pairs: Pairs | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def targets_of_an_input(self) -> int:
        """Number of class indices of one input: 1, or the number of its pixels."""
        return self.targets[0].numel()

    def part(self, rows: Tensor) -> Split:
        """Return the samples of these rows, without pairs."""
        return Split(self.inputs[rows], self.targets[rows])


@dataclass(frozen=True)
class Splits:
    """The parts that a search may use. The test part is not among them."""

    train: Split
    validation: Split


def as_numbers(inputs: Tensor) -> Tensor:
    """Convert image bytes, 0 to 255, to numbers in [-1, 1]. Return other inputs unchanged."""
    import torch

    return inputs.float() / 127.5 - 1.0 if inputs.dtype == torch.uint8 else inputs


def with_classes(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Drop the samples without a class from outputs [samples, size] and class indices [samples]."""
    has_class = targets >= 0
    return (outputs, targets) if bool(has_class.all()) else (outputs[has_class], targets[has_class])
