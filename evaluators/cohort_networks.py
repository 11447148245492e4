"""Batched networks: the same architecture many times over, each member with weights of its own.

A member is a candidate under a seed; its parameters are one slice of tensors whose first two dimensions are
[seeds, candidates]. Members under one seed start alike and see the same inputs. Nothing mixes members, so that a
diverging one changes no other. Embeddings have the shape [seeds, candidates, size, batch]: the batch last, so that
losses reduce over classes along whole rows.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from evaluators.networks import Perceptron


class BatchedNetwork(Protocol):
    """A network many times over: parameters, and embeddings of inputs."""

    #: Tensors [seeds, candidates, ...] that an optimiser moves.
    parameters: list[Tensor]

    def embed(self, inputs: Tensor) -> Tensor:
        """Embeddings [seeds, candidates, size, batch] of inputs [seeds, batch, ...]."""


class BatchedPerceptron:
    """:class:`evaluators.networks.Perceptron` many times over."""

    def __init__(self, networks: Sequence[Perceptron], candidates: int) -> None:
        self.weight = repeated([network.hidden.weight for network in networks], candidates)
        self.bias = repeated([network.hidden.bias for network in networks], candidates)
        self.parameters = [self.weight, self.bias]

    def embed(self, inputs: Tensor) -> Tensor:
        seeds, candidates, size, features = self.weight.shape
        weight, bias = self.weight.view(seeds, -1, features), self.bias.view(seeds, -1, 1)
        hidden = torch.baddbmm(bias, weight, inputs.transpose(1, 2))
        return torch.relu(hidden).view(seeds, candidates, size, -1)


def repeated(parameters: Sequence[Tensor], candidates: int) -> Tensor:
    """Parameters of one network for each seed as [seeds, candidates, ...], to be trained."""
    stacked = torch.stack([parameter.detach() for parameter in parameters]).unsqueeze(1)
    return stacked.repeat(1, candidates, *[1] * (stacked.ndim - 2)).requires_grad_()


#: How networks are batched, by their class. A network that is not here is trained one member at a time.
BATCHED: dict[type[nn.Module], Callable[..., BatchedNetwork]] = {Perceptron: BatchedPerceptron}
