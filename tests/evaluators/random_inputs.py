"""Networks with random weights and random inputs, for tests."""

import torch

from lossearch.evaluators.networks.registry import NETWORKS


def made(name, shape, size=12, seed=0):
    return NETWORKS[name](shape, size, torch.Generator().manual_seed(seed))


def images(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shapes(name):
    """Return shapes of inputs for a network: the smallest, an oblong one with odd sides, and those of papers."""
    side = max(NETWORKS[name].SMALLEST, 4)
    papers = {"resnet18": [(3, 66, 70)], "emosynthnet": [(1, 28, 28), (3, 32, 32), (3, 48, 48)], "mlp": [(7,)]}
    return [(1, side, side), (3, side + 3, side + 9), *papers.get(name, [])]
