"""Small networks for proxy trainings.

Networks for images have smooth activations (SiLU) and average pooling. Rectifiers and max pooling would make decisions
that rounding can flip, for many pixels at once where the background is constant. Two trainings that only differ in
rounding would then drift apart.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.networks import SMALLEST_IMAGE
from lossearch.evaluators.networks.layers import Backbone, convolution, linear


class Perceptron(Backbone):
    """One hidden layer of rectified units: inputs [batch, ...] -> embeddings [batch, size]."""

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        self.hidden = linear(math.prod(shape), size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.hidden(inputs.flatten(1)))


class ConvNet(Backbone):
    """Two convolutions, each with pooling, and a hidden layer.

    Images [batch, channels, height, width], each side at least 4, -> embeddings [batch, size].
    """

    SMALLEST = SMALLEST_IMAGE
    WIDTH = 8

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        channels, height, width = shape
        self.first = convolution(channels, self.WIDTH, generator)
        self.second = convolution(self.WIDTH, 2 * self.WIDTH, generator)
        self.hidden = linear(2 * self.WIDTH * (height // 4) * (width // 4), size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.avg_pool2d(F.silu(self.first(inputs)), 2)
        x = F.avg_pool2d(F.silu(self.second(x)), 2)
        return F.silu(self.hidden(x.flatten(1)))


class ResidualNet(Backbone):
    """A convolution, two residual blocks with group normalisation (Wu and He, ECCV 2018) and pooling, a hidden layer.

    Images [batch, channels, height, width], each side at least 4, -> embeddings [batch, size].
    """

    SMALLEST = SMALLEST_IMAGE
    WIDTH, GROUPS = 8, 4

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        channels, height, width = shape
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


class FullyConvolutionalNet(Backbone):
    """A convolution, two residual blocks at half the size of the image, and a convolution at its full size.

    The maps of the blocks are enlarged and added to those of the first convolution (Long et al., CVPR 2015). Images
    [batch, channels, height, width], each side at least 4, -> an embedding for each pixel, [batch*height*width, size].
    """

    SMALLEST = SMALLEST_IMAGE
    WIDTH, GROUPS, BLOCKS = 8, 4, 2

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        self.stem = convolution(shape[0], self.WIDTH, generator)
        self.blocks = nn.ModuleList(
            nn.ModuleList([convolution(self.WIDTH, self.WIDTH, generator), nn.GroupNorm(self.GROUPS, self.WIDTH)])
            for _ in range(self.BLOCKS)
        )
        self.last = convolution(self.WIDTH, size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        full = F.silu(self.stem(inputs))
        x = F.avg_pool2d(full, 2)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            conv, norm = block
            x = x + F.silu(norm(conv(x)))
        x = full + F.interpolate(x, full.shape[2:])
        return F.silu(self.last(x)).permute(0, 2, 3, 1).flatten(0, 2)


class DenseNet(Backbone):
    """A convolution, two residual blocks and a convolution, all at the size of the image.

    The convolutions in the blocks are dilated, the second more than the first (Yu and Koltun, ICLR 2016). Images
    [batch, channels, height, width], each side at least 4, -> an embedding for each pixel, [batch*height*width, size].
    """

    SMALLEST = SMALLEST_IMAGE
    WIDTH, GROUPS, DILATIONS = 8, 4, (2, 4)

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        channels, _, _ = shape
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
