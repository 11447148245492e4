"""Corrupted training parts: wrong labels, a long tail of rare classes, few labels."""

from __future__ import annotations

from dataclasses import replace

from lossearch.evaluators.data.splits import Split


def add_symmetric_noise(split: Split, share: float, classes: int, seed: int) -> Split:
    """Move this share of the labels to another class. Each other class is equally likely."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    is_moved = torch.rand(len(split), generator=generator) < share
    shift = torch.randint(1, classes, (len(split),), generator=generator)
    return replace(split, targets=torch.where(is_moved, (split.targets + shift) % classes, split.targets))


def add_asymmetric_noise(split: Split, share: float, classes: int, seed: int) -> Split:
    """Move this share of the labels to the next class (pair flips: Han et al., NeurIPS 2018)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    is_moved = torch.rand(len(split), generator=generator) < share
    return replace(split, targets=torch.where(is_moved, (split.targets + 1) % classes, split.targets))


def make_long_tailed(split: Split, ratio: float, classes: int) -> Split:
    """Thin out the classes, so that the first keeps ``ratio`` times as many samples as the last.

    Class sizes fall geometrically (Cui et al., CVPR 2019) from the size of the smallest class. The first samples of a
    class are kept.
    """
    import torch

    rows_by_class = [torch.nonzero(split.targets == index).flatten() for index in range(classes)]
    largest = min(map(len, rows_by_class))
    # n_k = n_0 * ratio^(-k / (K - 1))
    sizes = [max(1, round(largest * ratio ** (-index / (classes - 1)))) for index in range(classes)]
    kept = [rows[:size] for rows, size in zip(rows_by_class, sizes, strict=True)]
    return split.part(torch.cat(kept).sort().values)


def keep_few_labels(split: Split, count: int, classes: int) -> Split:
    """Keep the first ``count`` samples of each class."""
    import torch

    rows_by_class = [torch.nonzero(split.targets == index).flatten()[:count] for index in range(classes)]
    return split.part(torch.cat(rows_by_class).sort().values)
