"""Small networks for proxy trainings: each maps inputs to embeddings, below a linear head or class weights."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer whose weights and biases are uniform in +-1/sqrt(inputs), drawn from the generator."""
    layer = skip_init(nn.Linear, inputs, outputs)  # its own initialisation draws from the global generator
    for parameter in (layer.weight, layer.bias):
        nn.init.uniform_(parameter, -1.0 / math.sqrt(inputs), 1.0 / math.sqrt(inputs), generator=generator)
    return layer


class Perceptron(nn.Module):
    """One hidden layer of rectified units: inputs [batch, features] -> embeddings [batch, size]."""

    def __init__(self, features: int, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.hidden = linear(features, size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.hidden(inputs))
