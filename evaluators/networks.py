"""Small networks for proxy trainings: each maps inputs to embeddings, below a linear head or class weights.

Those for images have smooth activations (SiLU) and average pooling: where the background of images is constant, a
rectified unit or a largest value that rounding decides is decided for many pixels at once, and two trainings that
differ in rounding alone drift apart.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

#: Names of the proxies.
Proxy = Literal["mlp", "cnn", "resnet", "dense"]

#: Pixels that an image has at least each way: two poolings halve it.
SMALLEST_IMAGE = 4


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer whose weights and biases are uniform in +-1/sqrt(inputs), drawn from the generator."""
    layer = skip_init(nn.Linear, inputs, outputs)  # its own initialisation draws from the global generator
    _draw(layer, inputs, generator)
    return layer


def convolution(inputs: int, outputs: int, generator: torch.Generator, dilation: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the image's size, with weights that keep the size of what rectifiers leave.

    Weights are uniform in +-sqrt(6/n) for n inputs (He et al., ICCV 2015), biases in +-1/sqrt(n).
    """
    layer = skip_init(nn.Conv2d, inputs, outputs, 3, padding=dilation, dilation=dilation)
    _draw(layer, 9 * inputs, generator)
    with torch.no_grad():
        layer.weight.mul_(math.sqrt(6.0))
    return layer


def _draw(layer: nn.Module, inputs: int, generator: torch.Generator) -> None:
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1.0 / math.sqrt(inputs), 1.0 / math.sqrt(inputs), generator=generator)


class Perceptron(nn.Module):
    """One hidden layer of rectified units: inputs [batch, ...] -> embeddings [batch, size]."""

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.hidden = linear(math.prod(shape), size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.hidden(inputs.flatten(1)))


class ConvNet(nn.Module):
    """Two convolutions with pooling, then a hidden layer.

    Images [batch, channels, height, width], each side at least 4, -> embeddings [batch, size].
    """

    WIDTH = 8

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__()
        channels, height, width = image_shape(shape)
        self.first = convolution(channels, self.WIDTH, generator)
        self.second = convolution(self.WIDTH, 2 * self.WIDTH, generator)
        self.hidden = linear(2 * self.WIDTH * (height // 4) * (width // 4), size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.avg_pool2d(F.silu(self.first(inputs)), 2)
        x = F.avg_pool2d(F.silu(self.second(x)), 2)
        return F.silu(self.hidden(x.flatten(1)))


class ResidualNet(nn.Module):
    """A convolution, and two residual blocks with group normalisation (Wu and He, ECCV 2018) and pooling after each.

    Images [batch, channels, height, width], each side at least 4, -> embeddings [batch, size].
    """

    WIDTH, GROUPS = 8, 4

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__()
        channels, height, width = image_shape(shape)
        self.stem = convolution(channels, self.WIDTH, generator)
        self.blocks = nn.ModuleList(
            nn.ModuleList([convolution(self.WIDTH, self.WIDTH, generator), nn.GroupNorm(self.GROUPS, self.WIDTH)])
            for _ in range(2)
        )
        self.hidden = linear(self.WIDTH * (height // 4) * (width // 4), size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.silu(self.stem(inputs))
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            conv, norm = block
            x = F.avg_pool2d(x + F.silu(norm(conv(x))), 2)
        return F.silu(self.hidden(x.flatten(1)))


class DenseNet(nn.Module):
    """A convolution, two residual blocks that look further and further, and one more, all at the image's size.

    Images [batch, channels, height, width], each side at least 4, -> an embedding for each pixel,
    [batch*height*width, size]. Convolutions in blocks are dilated (Yu and Koltun, ICLR 2016).
    """

    WIDTH, GROUPS, DILATIONS = 8, 4, (2, 4)

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__()
        channels, _, _ = image_shape(shape)
        self.stem = convolution(channels, self.WIDTH, generator)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [convolution(self.WIDTH, self.WIDTH, generator, dilation), nn.GroupNorm(self.GROUPS, self.WIDTH)]
            )
            for dilation in self.DILATIONS
        )
        self.last = convolution(self.WIDTH, size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.silu(self.stem(inputs))
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            conv, norm = block
            x = x + F.silu(norm(conv(x)))
        return F.silu(self.last(x)).permute(0, 2, 3, 1).flatten(0, 2)


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width. Raises ValueError for inputs that are no images, or too small ones."""
    if len(shape) != 3 or min(shape[1:]) < SMALLEST_IMAGE:
        raise ValueError(
            f"Expected images of shape [channels, height, width], each side at least {SMALLEST_IMAGE}, got "
            f"{list(shape)}. Use the network mlp."
        )
    channels, height, width = shape
    return channels, height, width


#: Each proxy by its name: from the shape of an input, the size of an embedding and a generator.
PROXIES: dict[Proxy, Callable[[tuple[int, ...], int, torch.Generator], nn.Module]] = {
    "mlp": Perceptron,
    "cnn": ConvNet,
    "resnet": ResidualNet,
    "dense": DenseNet,
}

#: Proxies that give every pixel an embedding, for tasks whose pixels have classes.
DENSE = ("dense",)
