"""A small U-Net, which gives every pixel an embedding (Ronneberger et al., MICCAI 2015).

It has a quarter of the paper's maps, and three levels below the image instead of four. Unlike the paper's, its
convolutions are padded, so that no pixel is lost, and normalised.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.networks.layers import Backbone, normalised_convolution, transposed_convolution


class UNet(Backbone):
    """Two convolutions on each level, max pooling on the way down, and transposed convolutions on the way up.

    The maps of each level on the way up are joined to those of the way down. Pooling rounds sizes up, and enlarged maps
    are cropped, so height and width may be odd. Images [batch, channels, height, width], each side at least 8, -> an
    embedding for each pixel, [batch*height*width, size]. The linear head stands for the paper's last layer, a 1x1
    convolution. The network has 531,296 parameters at 3 channels and 64.
    """

    SMALLEST = 8
    WIDTHS = (16, 32, 64, 128)

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        sizes = (shape[0], *self.WIDTHS)
        self.down = nn.ModuleList(_make_two_convolutions(above, below, generator) for above, below in pairwise(sizes))
        levels = list(pairwise(self.WIDTHS))[::-1]  # from the lowest level up
        self.raised = nn.ModuleList(transposed_convolution(below, above, generator, 2, 2) for above, below in levels)
        self.up = nn.ModuleList(
            _make_two_convolutions(2 * above, size if above == self.WIDTHS[0] else above, generator)
            for above, _ in levels
        )

    def forward(self, inputs: Tensor) -> Tensor:
        x, skipped = self.down[0](inputs), []
        for level in self.down[1:]:
            skipped.append(x)
            x = level(F.max_pool2d(x, 2, ceil_mode=True))
        for raised, level in zip(self.raised, self.up, strict=True):
            skip = skipped.pop()
            height, width = skip.shape[2:]
            x = level(torch.cat([skip, raised(x)[:, :, :height, :width]], 1))
        return x.permute(0, 2, 3, 1).flatten(0, 2)


def _make_two_convolutions(inputs: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    return nn.Sequential(
        normalised_convolution(inputs, outputs, generator),
        nn.ReLU(),
        normalised_convolution(outputs, outputs, generator),
        nn.ReLU(),
    )
