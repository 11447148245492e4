"""The base class of networks, and layers whose weights are drawn from a generator that is passed in."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

#: Gain of uniform weights before a rectifier, sqrt(6): weights in +-sqrt(6/n) have the variance 2/n (He et al., ICCV
#: 2015).
RECTIFIED = math.sqrt(6.0)


class Backbone(nn.Module):
    """A network below a linear head or class weights: inputs [batch, *shape] -> embeddings [batch, size].

    ``shape`` is that of one input, and ``generator`` draws all weights. Raises ValueError if the network needs images
    and inputs are no images, or too small.
    """

    #: Fewest pixels of an image each way. 0 if inputs need not be images.
    SMALLEST = 0

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__()
        if self.SMALLEST:
            require_image(shape, self.SMALLEST)

    def forward(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError


def require_image(shape: tuple[int, ...], smallest: int) -> None:
    """Raise ValueError unless ``shape`` is that of an image with at least ``smallest`` pixels each way."""
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise ValueError(
            f"Expected images of shape [channels, height, width], each side at least {smallest}, got {list(shape)}. "
            "Use a network for smaller images, or mlp, which takes any inputs."
        )


def linear(inputs: int, outputs: int, generator: torch.Generator, gain: float = 1.0) -> nn.Linear:
    """Make a linear layer with weights uniform in +-gain/sqrt(inputs) and biases uniform in +-1/sqrt(inputs)."""
    layer = skip_init(nn.Linear, inputs, outputs)  # torch would draw from the global generator
    _draw(layer, inputs, generator, gain)
    return layer


def convolution(
    inputs: int,
    outputs: int,
    generator: torch.Generator,
    dilation: int = 1,
    kernel: int = 3,
    stride: int = 1,
    bias: bool = True,
) -> nn.Conv2d:
    """Make a convolution that keeps the size of an image, or divides it by the stride and rounds up.

    Weights are uniform in +-sqrt(6/n) for n inputs of an output (He et al., ICCV 2015), biases in +-1/sqrt(n).
    """
    padding = dilation * (kernel // 2)
    layer = skip_init(nn.Conv2d, inputs, outputs, kernel, stride, padding=padding, dilation=dilation, bias=bias)
    _draw(layer, kernel**2 * inputs, generator, RECTIFIED)
    return layer


def transposed_convolution(
    inputs: int, outputs: int, generator: torch.Generator, kernel: int, stride: int = 1
) -> nn.ConvTranspose2d:
    """Make a transposed convolution without padding: a side of n pixels becomes (n - 1) * stride + kernel.

    Weights are drawn as for :func:`convolution`, with n = inputs * kernel^2 / stride^2 for an inner pixel.
    """
    layer = skip_init(nn.ConvTranspose2d, inputs, outputs, kernel, stride)
    _draw(layer, kernel**2 * inputs // stride**2, generator, RECTIFIED)
    return layer


def normalised_convolution(
    inputs: int, outputs: int, generator: torch.Generator, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Make a convolution with batch normalisation (Ioffe and Szegedy, ICML 2015), whose shifts replace the biases."""
    layer = convolution(inputs, outputs, generator, kernel=kernel, stride=stride, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def _draw(
    layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, inputs: int, generator: torch.Generator, gain: float
) -> None:
    """Draw weights uniform in +-gain/sqrt(inputs), and biases uniform in +-1/sqrt(inputs)."""
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1.0 / math.sqrt(inputs), 1.0 / math.sqrt(inputs), generator=generator)
    with torch.no_grad():
        layer.weight.mul_(gain)
