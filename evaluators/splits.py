"""Splits: training, validation and test parts of a data set that never mix."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Inputs [samples, ...] and class indices [samples]."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Splits:
    """The parts that a search may look at. The test part is not among them."""

    train: Split
    validation: Split


def stratified(targets: Tensor, shares: tuple[float, ...], seed: int) -> list[Tensor]:
    """Indices of disjoint parts with these shares of every class, shuffled by the seed.

    The last part takes what is left over. Raises ValueError where the shares exceed one.
    """
    if sum(shares) > 1.0 + 1e-9:
        raise ValueError(f"Expected shares that sum to at most 1, got {shares}.")
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in shares]
    for each_class in targets.unique():
        members = torch.nonzero(targets == each_class).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        start = 0
        for part, share in zip(parts[:-1], shares[:-1], strict=True):
            stop = start + round(share * len(members))
            part.append(members[start:stop])
            start = stop
        parts[-1].append(members[start:])
    return [torch.cat(part).sort().values for part in parts]


def with_symmetric_noise(split: Split, share: float, classes: int, seed: int) -> Split:
    """The split with this share of its labels moved to another class, each other class equally likely."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(len(split), generator=generator) < share
    shift = torch.randint(1, classes, (len(split),), generator=generator)
    return Split(split.inputs, torch.where(chosen, (split.targets + shift) % classes, split.targets))
