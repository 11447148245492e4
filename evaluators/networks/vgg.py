"""The VGG of the PEDCC paper, which is that of the large-margin softmax paper for CIFAR-100.

The layers are those of table 1 of Liu et al., ICML 2016, after Simonyan and Zisserman, ICLR 2015. Zhu et al. 2019,
section IV, use them for EMNIST and CIFAR-100, with an embedding of 512.
"""

import torch
from torch import Tensor, nn

from lossearch.evaluators.networks.layers import Backbone, linear, normalised_convolution


class VGG(Backbone):
    """Thirteen 3x3 convolutions: one of 96 maps, then four each of 96, 192 and 384, with max pooling after each four.

    Batch normalisation and a PReLU for each map follow each convolution. The embedding is the output of the fully
    connected layer without an activation, x in figure 1 of Zhu et al. Images [batch, channels, height, width], each
    side at least 8, -> embeddings [batch, size]. The network has 9,295,040 parameters at [3, 32, 32] and 512.
    """

    SMALLEST = 8
    STEM, WIDTHS, DEPTH = 96, (96, 192, 384), 4

    def __init__(self, shape: tuple[int, ...], size: int, generator: torch.Generator) -> None:
        super().__init__(shape, size, generator)
        channels, height, width = shape
        layers = _rectified(channels, self.STEM, generator)
        before = self.STEM
        for maps in self.WIDTHS:
            for _ in range(self.DEPTH):
                layers += _rectified(before, maps, generator)
                before = maps
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.hidden = linear(before * (height // 8) * (width // 8), size, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.hidden(self.features(inputs).flatten(1))


def _rectified(inputs: int, outputs: int, generator: torch.Generator) -> list[nn.Module]:
    return [normalised_convolution(inputs, outputs, generator), nn.PReLU(outputs)]
