"""Randomness of a training step where a network draws some, as dropout does: of the seed and the step alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Randomness:
    """What a network draws under a seed; a training that was stopped and goes on draws as one that was not."""

    def __init__(self, network: nn.Module, seed: int) -> None:
        self._network, self._seed = network, seed
        dropouts = (each for each in network.modules() if isinstance(each, nn.modules.dropout._DropoutNd))
        self._draws = any(each.p > 0.0 for each in dropouts)

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Let what the network draws depend on the step; torch's generators are left as they were."""
        if not self._draws:
            yield
            return
        device = next(self._network.parameters()).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed((self._seed * 1_000_003 + step) % 2**63)
            yield
