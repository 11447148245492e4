"""Splits: training, validation and test parts of a data set that never mix."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """Pairs of samples to verify: indices of both [pairs], and whether they are of one class [pairs]."""

    first: Tensor
    second: Tensor
    same: Tensor

    def __len__(self) -> int:
        return len(self.same)


def as_numbers(inputs: Tensor) -> Tensor:
    """Inputs as networks take them: bytes of images, 0 to 255, as numbers in [-1, 1]; numbers as they are."""
    return inputs.float() / 127.5 - 1.0 if inputs.dtype == torch.uint8 else inputs


def with_classes(seen: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """What a network gives [samples, size], and class indices [samples], without samples that have no class."""
    has_class = targets >= 0
    return (seen, targets) if bool(has_class.all()) else (seen[has_class], targets[has_class])


@dataclass(frozen=True)
class Split:
    """Inputs [samples, ...] and class indices [samples], or [samples, height, width] of every pixel.

    Inputs are numbers, or bytes of images. A pixel whose target is negative has no class: it is ignored.
    ``pairs`` are there where samples of classes that were never trained on are to be verified.
    """

    inputs: Tensor
    targets: Tensor
    pairs: Pairs | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def targets_of_an_input(self) -> int:
        """How many class indices an input has: 1, or its pixels."""
        return self.targets[0].numel()

    def part(self, rows: Tensor) -> "Split":
        """The samples of these rows."""
        return Split(self.inputs[rows], self.targets[rows])


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
    return replace(split, targets=torch.where(chosen, (split.targets + shift) % classes, split.targets))


def with_asymmetric_noise(split: Split, share: float, classes: int, seed: int) -> Split:
    """The split with this share of its labels moved to the next class (pair flips: Han et al., NeurIPS 2018)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(len(split), generator=generator) < share
    return replace(split, targets=torch.where(chosen, (split.targets + 1) % classes, split.targets))


def long_tailed(split: Split, ratio: float, classes: int) -> Split:
    """The split with fewer samples of each class than of the one before, the last with a ``ratio``-th of the first.

    Sizes fall geometrically from the smallest class's (Cui et al., CVPR 2019); the first samples of a class are kept.
    """
    members = [torch.nonzero(split.targets == each).flatten() for each in range(classes)]
    most = min(map(len, members))
    sizes = [max(1, round(most * ratio ** (-each / (classes - 1)))) for each in range(classes)]
    return split.part(torch.cat([rows[:size] for rows, size in zip(members, sizes, strict=True)]).sort().values)


def few_labels(split: Split, count: int, classes: int) -> Split:
    """The split with this many samples of each class, the first ones."""
    members = [torch.nonzero(split.targets == each).flatten()[:count] for each in range(classes)]
    return split.part(torch.cat(members).sort().values)


def balanced_pairs(targets: Tensor, count: int, seed: int) -> Pairs:
    """So many pairs of samples of one class, and as many of two classes, in a random order, drawn by the seed.

    No sample is paired with itself. Raises ValueError for fewer than two classes, or a class with one sample.
    """
    generator = torch.Generator().manual_seed(seed)
    members = {int(each): torch.nonzero(targets == each).flatten() for each in targets.unique()}
    if len(members) < 2 or min(map(len, members.values())) < 2:
        raise ValueError("Expected two classes at least, with two samples each, to make pairs of.")
    names = list(members)

    def draw(high: int) -> int:
        return int(torch.randint(0, high, (1,), generator=generator))

    rows = []
    for number in range(2 * count):
        one = names[draw(len(names))]
        same = number % 2 == 0
        other = one if same else [name for name in names if name != one][draw(len(names) - 1)]
        first = members[one][draw(len(members[one]))]
        rest = members[other][members[other] != first]
        rows.append((int(first), int(rest[draw(len(rest))]), same))
    order = torch.randperm(len(rows), generator=generator).tolist()
    return Pairs(*(torch.tensor([rows[place][column] for place in order]) for column in range(3)))


# --- Where data comes from: arrays of inputs and class indices, before any split.


@lru_cache(maxsize=1)
def handwritten_digits() -> tuple[Tensor, Tensor]:
    """Scikit-learn's 1,797 handwritten digits: images [1797, 1, 8, 8] in [-1, 1], classes 0 to 9.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test set).
    """
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8.0 - 1.0
    return inputs, torch.tensor(targets, dtype=torch.int64)
