"""EmoSynthNet (Nabaei 2024, chapter 3): a VGG with transposed convolutions on top, beside an Inception branch.

The figures of the thesis were not available. Where its text is silent or contradicts itself, it is read as follows:

- Order of layers: section 3.2.1 puts normalisation before the activation in one place and after it in another. 3.2.3
  puts it after: convolution, ELU, normalisation. The activations of block 5 and of the dense layers are not stated. ELU
  is used: without it the transposed convolutions would be one linear map.
- Skip connections of blocks 1 and 3 run between pairs of convolutions and have no parameters. They skip the second
  pair, whose input and output have the same number of maps.
- Side branch: the outputs that 3.2.3 lists for a module sum to 640 maps, but its branch has 896. The missing 256 are
  the maps of block 3, which is the only block with 256: the branch starts there and passes its input on. This is the
  skip connection from analysis to synthesis that 3.2.3 mentions. Its max pooling has 3x3 pixels, as in Inception.
- Pooling of the side branch: means of 7x7 pixels. No single stride leads to (m/16 + 2) for every m, so centers are
  evenly spaced, at every second pixel for m = 32. m/16 is rounded down.
- Dropout: neither place nor rate is stated. As in VGG, it is a half after the first dense layer.
- Parameters: the text says 34 million, table 3.2 says 21 million and 82 MB. The layers as listed have 29,406,272
  without the last one, at [3, 32, 32] and 64. The main branch alone, with the last layer, has 20,518,410 at
  [1, 28, 28], which are 82 MB of four bytes each. The table seems to count these.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.networks.layers import RECTIFIED, Backbone, convolution, linear, transposed_convolution


class EmoSynthNet(Backbone):
    """Analysis in blocks 1 to 4, synthesis in block 5 with the side branch, and two dense layers of block 6.

    Images [batch, channels, height, width], each side at least 16, -> embeddings [batch, size], 64 in the thesis. The
    linear head stands for the third dense layer.
    """

    SMALLEST = 16
    BLOCKS = ((32, 64, 64, 64), (128, 128, 128, 128), (256, 256, 256, 256), (512, 512, 512))
    SKIPPING = (0, 2)  #: blocks with a skip connection
    SIDE_FROM = 2  #: the block whose maps the side branch takes
    RAISED, DENSE, DROPOUT = (512, 256), 128, 0.5

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        channels, height, width = shape
        inputs = (channels, *(widths[-1] for widths in self.BLOCKS))
        self.analysis = nn.ModuleList(
            AnalysisBlock(inputs[place], widths, place in self.SKIPPING, generator)
            for place, widths in enumerate(self.BLOCKS)
        )
        side = self.BLOCKS[self.SIDE_FROM][-1]
        self.side = nn.Sequential(AuxiliaryModule(side, generator), AuxiliaryModule(AuxiliaryModule.OUTPUTS, generator))
        first, second = self.RAISED
        self.first_raised = transposed_convolution(inputs[-1], first, generator, 3)
        joined = first + AuxiliaryModule.OUTPUTS + side  # 1408, as in section 3.2.3
        self.second_raised = transposed_convolution(joined, second, generator, 3)
        pixels = (4 * (height // 16) + 12) * (4 * (width // 16) + 12)  # (m/4 + 12)^2
        self.dense = linear(second * pixels, self.DENSE, generator, RECTIFIED)
        self.dropout = nn.Dropout(self.DROPOUT)
        self.hidden = linear(self.DENSE, size, generator, RECTIFIED)

    def forward(self, inputs: Tensor) -> Tensor:
        x, maps = inputs, []
        for block in self.analysis:
            x = block(x)
            maps.append(x)
            x = F.avg_pool2d(x, 2)
        x = F.elu(self.first_raised(x))
        side = maps[self.SIDE_FROM]
        side = pool_evenly(torch.cat([self.side(side), side], 1), x.shape[2:])
        x = double_size(torch.cat([x, side], 1))
        x = double_size(F.elu(self.second_raised(x)))
        x = self.dropout(F.elu(self.dense(x.flatten(1))))
        return F.elu(self.hidden(x))


class AnalysisBlock(nn.Module):
    """3x3 convolutions, each with ELU and batch normalisation. A skip connection around the second pair is optional.

    Images [batch, inputs, height, width] -> [batch, widths[-1], height, width].
    """

    def __init__(self, inputs: int, widths: tuple[int, ...], skips: bool, generator: torch.Generator) -> None:
        super().__init__()
        sizes = (inputs, *widths)
        layers = [
            nn.Sequential(convolution(before, after, generator), nn.ELU(), nn.BatchNorm2d(after))
            for before, after in zip(sizes, widths, strict=False)
        ]
        self.first, self.second, self.skips = nn.Sequential(*layers[:2]), nn.Sequential(*layers[2:]), skips

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return x + self.second(x) if self.skips else self.second(x)


class AuxiliaryModule(nn.Module):
    """Seven convolutions with ReLU in three sub-branches, of 5x5, 1x1 and 3x3 pixels (section 3.2.3).

    The outputs of the sub-branches are joined with those of the second convolutions of the first and the third. Images
    [batch, inputs, height, width] -> [batch, 640, height, width].
    """

    NARROW, WIDE, POOLED = (64, 96), (128, 192), 64  #: number of maps of the first convolution, and of the others
    OUTPUTS = 2 * NARROW[1] + POOLED + 2 * WIDE[1]

    def __init__(self, inputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.narrow = _make_three_convolutions(inputs, *self.NARROW, 5, generator)
        self.pooled = convolution(inputs, self.POOLED, generator, kernel=1)
        self.wide = _make_three_convolutions(inputs, *self.WIDE, 3, generator)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [F.relu(self.pooled(F.max_pool2d(x, 3, 1, padding=1)))]
        for first, second, third in (self.narrow, self.wide):
            inner = F.relu(second(F.relu(first(x))))
            outputs += [inner, F.relu(third(inner))]
        return torch.cat(outputs, 1)


def _make_three_convolutions(
    inputs: int, reduced: int, outputs: int, kernel: int, generator: torch.Generator
) -> nn.ModuleList:
    return nn.ModuleList(
        [
            convolution(inputs, reduced, generator, kernel=1),
            convolution(reduced, outputs, generator, kernel=kernel),
            convolution(outputs, outputs, generator, kernel=kernel),
        ]
    )


def double_size(x: Tensor) -> Tensor:
    """Repeat every pixel 2x2 times: images [batch, channels, 2*height, 2*width]."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def pool_evenly(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Average 7x7 pixels around evenly spaced centers, without pixels outside: images [batch, channels, *size]."""
    return F.interpolate(F.avg_pool2d(x, 7, 1, 3, count_include_pad=False), size=list(size), mode="nearest")
