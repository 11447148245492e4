"""EmoSynthNet (Nabaei 2024, chapter 3): a VGG that looks again at raised maps, beside an Inception branch.

Its figures are not at hand, and where the text is silent or contradicts itself these readings are taken:

- Order: section 3.2.1 has normalisation before the activation in one place and after it in another, as 3.2.3 has:
  convolution, ELU, normalisation. Activations of block 5 and of the dense layers are not stated: ELU, without which the
  transposed convolutions would be one linear map.
- Skip connections of blocks 1 and 3 run between pairs of convolutions and bring no parameters: around the second pair,
  whose input and output have as many maps.
- Side branch: the outputs that 3.2.3 lists for a module sum to 640 maps, and its branch has 896. The 256 that are
  missing are the maps of block 3, which no other block has: the branch starts there and hands its input on, as the skip
  connection from analysis to synthesis that 3.2.3 speaks of. Its max pooling has Inception's 3x3 pixels.
- Pooling of the side branch: means of 7x7 pixels. No one stride leads to (m/16 + 2) for every m; centers are evenly
  spaced, at every second pixel where m = 32. m/16 is rounded down.
- Dropout: neither place nor rate are stated; VGG's, a half above the first dense layer.
- Parameters: the text says 34 million, its table 3.2 says 21 million and 82 MB. Its layers, as it lists them, have
  29,406,272 below the last at [3, 32, 32] and 64. The main branch alone has 20,518,410 with the last layer at
  [1, 28, 28], 82 MB of four bytes each: this, it seems, is what the table counts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.networks.layers import RECTIFIED, Backbone, convolution, linear, transposed_convolution


class EmoSynthNet(Backbone):
    """Analysis in blocks 1 to 4, synthesis in block 5 beside the side branch, and two dense layers of block 6.

    Images [batch, channels, height, width], each side at least 16, -> embeddings [batch, size], 64 in the thesis. The
    third dense layer is the head above.
    """

    SMALLEST = 16
    BLOCKS = ((32, 64, 64, 64), (128, 128, 128, 128), (256, 256, 256, 256), (512, 512, 512))
    SKIPPING = (0, 2)  #: blocks with a skip connection
    SIDE_FROM = 2  #: the block whose maps the side branch looks at
    RAISED, DENSE, DROPOUT = (512, 256), 128, 0.5

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        channels, height, width = shape
        inputs = (channels, *(widths[-1] for widths in self.BLOCKS))
        self.analysis = nn.ModuleList(
            AnalysisBlock(inputs[place], widths, place in self.SKIPPING, generator)
            for place, widths in enumerate(self.BLOCKS)
        )
        seen = self.BLOCKS[self.SIDE_FROM][-1]
        self.side = nn.Sequential(AuxiliaryModule(seen, generator), AuxiliaryModule(AuxiliaryModule.OUTPUTS, generator))
        first, second = self.RAISED
        self.first_raised = transposed_convolution(inputs[-1], first, generator, 3)
        joined = first + AuxiliaryModule.OUTPUTS + seen  # 1408, as in section 3.2.3
        self.second_raised = transposed_convolution(joined, second, generator, 3)
        pixels = (4 * (height // 16) + 12) * (4 * (width // 16) + 12)  # (m/4 + 12)^2
        self.dense = linear(second * pixels, self.DENSE, generator, RECTIFIED)
        self.dropout = nn.Dropout(self.DROPOUT)
        self.hidden = linear(self.DENSE, size, generator, RECTIFIED)

    def forward(self, inputs: Tensor) -> Tensor:
        x, seen = inputs, []
        for block in self.analysis:
            x = block(x)
            seen.append(x)
            x = F.avg_pool2d(x, 2)
        x = F.elu(self.first_raised(x))
        beside = seen[self.SIDE_FROM]
        beside = evenly_pooled(torch.cat([self.side(beside), beside], 1), x.shape[2:])
        x = doubled(torch.cat([x, beside], 1))
        x = doubled(F.elu(self.second_raised(x)))
        x = self.dropout(F.elu(self.dense(x.flatten(1))))
        return F.elu(self.hidden(x))


class AnalysisBlock(nn.Module):
    """3x3 convolutions, each with ELU and batch normalisation, and a skip connection around the second pair or none.

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
    """Seven rectified convolutions in three sub-branches, of 5x5, 1x1 and 3x3 pixels (section 3.2.3).

    What each sub-branch gives is joined with what the second convolutions of the first and the third give. Images
    [batch, inputs, height, width] -> [batch, 640, height, width].
    """

    NARROW, WIDE, POOLED = (64, 96), (128, 192), 64  #: maps of the first convolution, and of the others
    OUTPUTS = 2 * NARROW[1] + POOLED + 2 * WIDE[1]

    def __init__(self, inputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.narrow = _three_convolutions(inputs, *self.NARROW, 5, generator)
        self.pooled = convolution(inputs, self.POOLED, generator, kernel=1)
        self.wide = _three_convolutions(inputs, *self.WIDE, 3, generator)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [F.relu(self.pooled(F.max_pool2d(x, 3, 1, padding=1)))]
        for first, second, third in (self.narrow, self.wide):
            inner = F.relu(second(F.relu(first(x))))
            outputs += [inner, F.relu(third(inner))]
        return torch.cat(outputs, 1)


def _three_convolutions(
    inputs: int, reduced: int, outputs: int, kernel: int, generator: torch.Generator
) -> nn.ModuleList:
    return nn.ModuleList(
        [
            convolution(inputs, reduced, generator, kernel=1),
            convolution(reduced, outputs, generator, kernel=kernel),
            convolution(outputs, outputs, generator, kernel=kernel),
        ]
    )


def doubled(x: Tensor) -> Tensor:
    """Every pixel as 2x2 equal ones: images [batch, channels, 2*height, 2*width]."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def evenly_pooled(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Means of 7x7 pixels around evenly spaced ones: images [batch, channels, *size]. Pixels outside do not count."""
    return F.interpolate(F.avg_pool2d(x, 7, 1, 3, count_include_pad=False), size=list(size), mode="nearest")
