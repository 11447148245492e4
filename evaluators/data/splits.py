"""Samples of a data set: one part of them, and the parts that a search may use."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from lossearch.evaluators.data.data_home import shown_path

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


def warn_of_shared(path: Path, parts: Mapping[str, Split], advice: str) -> None:
    """Warn of validation and test samples that an earlier part has as well, bit for bit; ``advice`` is a sentence.

    ``parts`` are in the order train, validation, test.
    """
    shared = count_shared(parts)
    if shared:
        counts = " and ".join(f"{count} of {len(parts[part])} in {part}" for part, count in shared.items())
        num_shared = sum(shared.values())
        warnings.warn(
            f"{num_shared} {'sample' if num_shared == 1 else 'samples'} of {shown_path(path)} "
            f"{'is' if num_shared == 1 else 'are'} in more than one part ({counts}): scores measured on them are too "
            f"high. {advice}",
            UserWarning,
            stacklevel=4,
        )


def count_shared(parts: Mapping[str, Split]) -> dict[str, int]:
    """Count the samples of each part whose inputs an earlier part has as well. Parts without any are left out."""
    counts: dict[str, int] = {}
    earlier: set[bytes] = set()
    for part, split in parts.items():
        hashes = [_hash(row) for row in split.inputs]
        counts[part] = sum(row in earlier for row in hashes)
        earlier.update(hashes)
    return {part: count for part, count in counts.items() if count}


def _hash(inputs: Tensor) -> bytes:
    numbers = inputs + 0.0 if inputs.is_floating_point() else inputs  # -0.0 is 0.0
    return blake2b(numbers.numpy().tobytes(), digest_size=16).digest()
