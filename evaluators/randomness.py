"""Randomness of a training step where a network draws some, as dropout does: of the seed and the step alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def draws(network: nn.Module) -> bool:
    """Whether a network draws random numbers in training."""
    return any(isinstance(each, nn.modules.dropout._DropoutNd) and each.p > 0.0 for each in network.modules())


@contextmanager
def randomness_of(network: nn.Module, seed: int, step: int) -> Iterator[None]:
    """Let what the network draws depend on seed and step; torch's generators are left as they were.

    So a training that was stopped and goes on equals one that was not.
    """
    if not draws(network):
        yield
        return
    device = next(network.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed((seed * 1_000_003 + step) % 2**63)
        yield
