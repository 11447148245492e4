"""Residual networks of 18 layers: that of He et al., and its improved form for faces."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.networks.layers import Backbone, linear, normalised_convolution

#: Number of maps of the four stages, of two blocks each.
WIDTHS = (64, 128, 256, 512)


class ResNet18(Backbone):
    """ResNet-18 (He et al., CVPR 2016, table 1) up to its average over pixels.

    The stem of images with sides up to 64 is a 3x3 convolution that keeps their size, as is usual for CIFAR. The stem
    of larger images halves them twice, by a 7x7 convolution and max pooling. An embedding of 512 is the average itself.
    For another size a linear layer follows. Images [batch, channels, height, width], each side at least 8, ->
    embeddings [batch, size]. The network has 11,168,832 parameters at [3, 32, 32] and 512, and 11,176,512 at
    [3, 224, 224].
    """

    SMALLEST = 8
    LARGEST_SMALL = 64  #: longest side in pixels of images that the stem does not halve

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        small = max(shape[1:]) <= self.LARGEST_SMALL
        kernel, stride = (3, 1) if small else (7, 2)
        self.stem = normalised_convolution(shape[0], WIDTHS[0], generator, kernel, stride)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        self.blocks = _make_stages(ResidualBlock, 1, generator)
        self.hidden = nn.Identity() if size == WIDTHS[-1] else linear(WIDTHS[-1], size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.blocks(self.pool(F.relu(self.stem(inputs))))
        return self.hidden(x.mean((2, 3)))


class ImprovedResNet18(Backbone):
    """ResNet-18 with the improved blocks and the output of ArcFace (Deng et al., CVPR 2019).

    The stem is a 3x3 convolution that keeps the size of an image, and each of the four stages halves it. The output is
    batch normalisation, dropout of 0.4, a fully connected layer over all pixels, and batch normalisation. The scale of
    the last normalisation is learned here; the authors' code (insightface) fixes it to 1. Images [batch, channels,
    height, width], each side at least 16, -> embeddings [batch, size]. The network has 24,025,600 parameters at
    [3, 112, 112] and 512.
    """

    SMALLEST = 16
    DROPOUT = 0.4

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        channels, height, width = shape
        self.stem = nn.Sequential(normalised_convolution(channels, WIDTHS[0], generator), nn.PReLU(WIDTHS[0]))
        self.blocks = _make_stages(ImprovedBlock, 2, generator)
        self.norm, self.dropout = nn.BatchNorm2d(WIDTHS[-1]), nn.Dropout(self.DROPOUT)
        pixels = -(-height // 16) * -(-width // 16)  # halved four times, rounded up
        self.hidden = linear(WIDTHS[-1] * pixels, size, generator)
        self.last_norm = nn.BatchNorm1d(size)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.dropout(self.norm(self.blocks(self.stem(inputs))))
        return self.last_norm(self.hidden(x.flatten(1)))


class ResidualBlock(nn.Module):
    """convolution - norm - ReLU - convolution - norm, plus the input, then ReLU (He et al., figure 2).

    Images [batch, inputs, height, width] -> [batch, outputs, height/stride, width/stride]. The first convolution has
    the stride. If sizes differ, a 1x1 convolution with a norm maps the input (option B).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = normalised_convolution(inputs, outputs, generator, stride=stride)
        self.second = normalised_convolution(outputs, outputs, generator)
        self.shortcut = _make_shortcut(inputs, outputs, stride, generator)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ImprovedBlock(nn.Module):
    """norm - convolution - norm - PReLU - convolution - norm, plus the input, without an activation after the sum.

    Shapes are those of :class:`ResidualBlock`. The second convolution has the stride.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, generator: torch.Generator) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs),
            normalised_convolution(inputs, outputs, generator),
            nn.PReLU(outputs),
            normalised_convolution(outputs, outputs, generator, stride=stride),
        )
        self.shortcut = _make_shortcut(inputs, outputs, stride, generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.shortcut(x)


def _make_stages(
    block: type[ResidualBlock] | type[ImprovedBlock], first_stride: int, generator: torch.Generator
) -> nn.Sequential:
    """Make four stages of two blocks. The first divides the size of an image by ``first_stride``, the others by 2."""
    blocks: list[nn.Module] = []
    before = WIDTHS[0]
    for width in WIDTHS:
        blocks += [block(before, width, 2 if blocks else first_stride, generator), block(width, width, 1, generator)]
        before = width
    return nn.Sequential(*blocks)


def _make_shortcut(inputs: int, outputs: int, stride: int, generator: torch.Generator) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return normalised_convolution(inputs, outputs, generator, kernel=1, stride=stride)
