"""Residual networks of 18 layers: the one for images of He et al., and its improved form for faces."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.networks.layers import Backbone, linear, normalised_convolution

#: Maps of the four stages, of two blocks each.
WIDTHS = (64, 128, 256, 512)


class ResNet18(Backbone):
    """ResNet-18 (He et al., CVPR 2016, table 1) up to its average over pixels.

    Images with sides of 64 or less keep their size in the stem, a 3x3 convolution without pooling, as is customary for
    CIFAR; larger ones are halved twice, by a 7x7 convolution and a pooling. Embeddings of 512 are the averages
    themselves; for another size a linear layer follows. Images [batch, channels, height, width], each side at least 8,
    -> embeddings [batch, size]. It has 11,168,832 parameters at [3, 32, 32] and 512, and 11,176,512 at [3, 224, 224].
    """

    SMALLEST = 8
    LARGEST_SMALL = 64  #: pixels of the longer side of images that the stem does not halve

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        small = max(shape[1:]) <= self.LARGEST_SMALL
        kernel, stride = (3, 1) if small else (7, 2)
        self.stem = normalised_convolution(shape[0], WIDTHS[0], generator, kernel, stride)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        self.blocks = _stages(ResidualBlock, 1, generator)
        self.hidden = nn.Identity() if size == WIDTHS[-1] else linear(WIDTHS[-1], size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.blocks(self.pool(F.relu(self.stem(inputs))))
        return self.hidden(x.mean((2, 3)))


class ImprovedResNet18(Backbone):
    """ResNet-18 with the improved blocks and the output of ArcFace (Deng et al., CVPR 2019).

    The stem is a 3x3 convolution that keeps the image's size, and each of the four stages halves it. The output is
    normalised, thinned out by dropout of 0.4, mapped by a fully connected layer of all pixels, and normalised again.
    The scale of this last normalisation is learned here; ArcFace's authors fix it to 1 in their code (insightface).
    Images [batch, channels, height, width], each side at least 16, -> embeddings [batch, size]. It has 24,025,600
    parameters at [3, 112, 112] and 512.
    """

    SMALLEST = 16
    DROPOUT = 0.4

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        channels, height, width = shape
        self.stem = nn.Sequential(normalised_convolution(channels, WIDTHS[0], generator), nn.PReLU(WIDTHS[0]))
        self.blocks = _stages(ImprovedBlock, 2, generator)
        self.norm, self.dropout = nn.BatchNorm2d(WIDTHS[-1]), nn.Dropout(self.DROPOUT)
        pixels = -(-height // 16) * -(-width // 16)  # halved four times, rounded up
        self.hidden = linear(WIDTHS[-1] * pixels, size, generator)
        self.last_norm = nn.BatchNorm1d(size)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.dropout(self.norm(self.blocks(self.stem(inputs))))
        return self.last_norm(self.hidden(x.flatten(1)))


class ResidualBlock(nn.Module):
    """convolution - norm - rectifier - convolution - norm, plus the input, rectified (He et al., figure 2).

    Images [batch, inputs, height, width] -> [batch, outputs, height/stride, width/stride]. The first convolution has
    the stride; where sizes differ, the input is mapped by a 1x1 convolution with a norm (option B).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = normalised_convolution(inputs, outputs, generator, stride=stride)
        self.second = normalised_convolution(outputs, outputs, generator)
        self.shortcut = _shortcut(inputs, outputs, stride, generator)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ImprovedBlock(nn.Module):
    """norm - convolution - norm - PReLU - convolution - norm, plus the input; nothing is rectified above the sum.

    Shapes are those of :class:`ResidualBlock`; the second convolution has the stride.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, generator: torch.Generator) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs),
            normalised_convolution(inputs, outputs, generator),
            nn.PReLU(outputs),
            normalised_convolution(outputs, outputs, generator, stride=stride),
        )
        self.shortcut = _shortcut(inputs, outputs, stride, generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.shortcut(x)


def _stages(
    block: type[ResidualBlock] | type[ImprovedBlock], first_stride: int, generator: torch.Generator
) -> nn.Sequential:
    """Four stages of two blocks; all but the first halve the image, and the first one divides it by its stride."""
    blocks: list[nn.Module] = []
    before = WIDTHS[0]
    for width in WIDTHS:
        blocks += [block(before, width, 2 if blocks else first_stride, generator), block(width, width, 1, generator)]
        before = width
    return nn.Sequential(*blocks)


def _shortcut(inputs: int, outputs: int, stride: int, generator: torch.Generator) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return normalised_convolution(inputs, outputs, generator, kernel=1, stride=stride)
