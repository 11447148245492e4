"""What networks are made of: their common base, with layers whose weights come from a generator that is passed in."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

#: Pixels that an image has at least each way where it is moved or mirrored, and for the proxies: two poolings halve it.
SMALLEST_IMAGE = 4

#: Bound of uniform weights, times the root of the number of inputs, that keeps the size of what rectifiers leave
#: (He et al., ICCV 2015): a variance of 2/n.
RECTIFIED = math.sqrt(6.0)


class Backbone(nn.Module):
    """A network below a linear head or class weights: inputs [batch, ...] -> embeddings [batch, size].

    Made from the ``shape`` of one input, the ``size`` of an embedding and the ``generator`` of all its weights. Raises
    ValueError for inputs that are no images, or too small ones, where it needs images.
    """

    #: Pixels that an image must have each way; 0 where inputs need not be images.
    SMALLEST = 0

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__()
        if self.SMALLEST:
            image_shape(shape, self.SMALLEST)

    def forward(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError


def image_shape(shape: tuple[int, ...], smallest: int = SMALLEST_IMAGE) -> tuple[int, int, int]:
    """Channels, height and width. Raises ValueError for inputs that are no images, or too small ones."""
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise ValueError(
            f"Expected images of shape [channels, height, width], each side at least {smallest}, got {list(shape)}. "
            "Use a network for smaller images, or mlp, which takes any inputs."
        )
    channels, height, width = shape
    return channels, height, width


def linear(inputs: int, outputs: int, generator: torch.Generator, gain: float = 1.0) -> nn.Linear:
    """A linear layer: weights uniform in +-gain/sqrt(inputs), biases in +-1/sqrt(inputs), drawn from the generator."""
    layer = skip_init(nn.Linear, inputs, outputs)  # its own initialisation draws from the global generator
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
    """A convolution that keeps the image's size, or divides it by the stride and rounds up.

    Weights are uniform in +-sqrt(6/n) for n inputs (He et al., ICCV 2015), biases in +-1/sqrt(n).
    """
    padding = dilation * (kernel // 2)
    layer = skip_init(nn.Conv2d, inputs, outputs, kernel, stride, padding=padding, dilation=dilation, bias=bias)
    _draw(layer, kernel**2 * inputs, generator, RECTIFIED)
    return layer


def transposed_convolution(
    inputs: int, outputs: int, generator: torch.Generator, kernel: int, stride: int = 1
) -> nn.ConvTranspose2d:
    """A transposed convolution without padding: a side of n pixels becomes (n - 1) * stride + kernel.

    An inner pixel is the sum of kernel^2/stride^2 pixels of each input; weights are as those of :func:`convolution`.
    """
    layer = skip_init(nn.ConvTranspose2d, inputs, outputs, kernel, stride)
    _draw(layer, kernel**2 * inputs // stride**2, generator, RECTIFIED)
    return layer


def normalised_convolution(
    inputs: int, outputs: int, generator: torch.Generator, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """A convolution without biases, and batch normalisation (Ioffe and Szegedy, ICML 2015), whose shifts are biases."""
    layer = convolution(inputs, outputs, generator, kernel=kernel, stride=stride, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def _draw(layer: nn.Module, inputs: int, generator: torch.Generator, gain: float) -> None:
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1.0 / math.sqrt(inputs), 1.0 / math.sqrt(inputs), generator=generator)
    with torch.no_grad():
        layer.weight.mul_(gain)  # type: ignore[operator]
