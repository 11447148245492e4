"""Batched networks: the same architecture many times over, each member with weights of its own.

A member is a candidate under a seed; its parameters are one slice of tensors whose first two dimensions are
[seeds, candidates]. Members under one seed start alike and see the same inputs. Nothing mixes members, so that a
diverging one changes no other. Embeddings have the shape [seeds, candidates, size, batch]: the batch last, so that
losses reduce over classes along whole rows.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.networks.proxies import ConvNet, DenseNet, FullyConvolutionalNet, Perceptron, ResidualNet

#: Pixels of an image up to which it is pooled by a matrix: the matrix grows with their square.
LARGEST_BY_MATRIX = 256


class BatchedNetwork(Protocol):
    """A network many times over: parameters, and embeddings of inputs."""

    #: Tensors [seeds, candidates, ...] that an optimiser moves.
    parameters: list[Tensor]

    def embed(self, inputs: Tensor) -> Tensor:
        """Embeddings [seeds, candidates, size, batch] of inputs [seeds, batch, ...]."""


class BatchedPerceptron:
    """:class:`~evaluators.networks.proxies.Perceptron` many times over."""

    def __init__(self, networks: Sequence[Perceptron], candidates: int, device: torch.device) -> None:
        self.hidden = Layer([network.hidden for network in networks], candidates, device)
        self.parameters = self.hidden.parameters

    def embed(self, inputs: Tensor) -> Tensor:
        seeds, candidates, size, features = self.hidden.weight.shape
        weight, bias = self.hidden.weight.view(seeds, -1, features), self.hidden.bias.view(seeds, -1, 1)
        hidden = torch.baddbmm(bias, weight, inputs.flatten(2).transpose(1, 2))
        return torch.relu(hidden).view(seeds, candidates, size, -1)


class BatchedConvNet:
    """:class:`~evaluators.networks.proxies.ConvNet` many times over."""

    def __init__(self, networks: Sequence[ConvNet], candidates: int, device: torch.device) -> None:
        self.first, self.second, self.hidden = (
            Layer([getattr(network, name) for network in networks], candidates, device)
            for name in ("first", "second", "hidden")
        )
        self.parameters = [*self.first.parameters, *self.second.parameters, *self.hidden.parameters]

    def embed(self, inputs: Tensor) -> Tensor:
        x = pooled(F.silu(self.first.convolved(side_by_side(inputs))))
        x = pooled(F.silu(self.second.convolved(x)))
        return F.silu(self.hidden.applied(x))


class BatchedResidualNet:
    """:class:`~evaluators.networks.proxies.ResidualNet` many times over; a group is normalised within a member."""

    def __init__(self, networks: Sequence[ResidualNet], candidates: int, device: torch.device) -> None:
        self.stem = Layer([network.stem for network in networks], candidates, device)
        self.hidden = Layer([network.hidden for network in networks], candidates, device)
        self.blocks = batched_blocks([network.blocks for network in networks], candidates, device)
        layers = [self.stem, *(layer for block in self.blocks for layer in block), self.hidden]
        self.parameters = [parameter for layer in layers for parameter in layer.parameters]

    def embed(self, inputs: Tensor) -> Tensor:
        x = F.silu(self.stem.convolved(side_by_side(inputs)))
        for conv, norm in self.blocks:
            x = pooled(x + F.silu(norm.normalised(conv.convolved(x), ResidualNet.GROUPS)))
        return F.silu(self.hidden.applied(x))


class _OfPixels:
    """Two convolutions and blocks between them, many times over; the samples of an embedding are pixels."""

    def __init__(
        self, networks: Sequence[DenseNet | FullyConvolutionalNet], candidates: int, device: torch.device
    ) -> None:
        self.stem, self.last = (
            Layer([getattr(network, name) for network in networks], candidates, device) for name in ("stem", "last")
        )
        self.blocks = batched_blocks([network.blocks for network in networks], candidates, device)
        layers = [self.stem, *(layer for block in self.blocks for layer in block), self.last]
        self.parameters = [parameter for layer in layers for parameter in layer.parameters]

    def embed(self, inputs: Tensor) -> Tensor:
        x = F.silu(self.last.convolved(self.through_blocks(F.silu(self.stem.convolved(side_by_side(inputs))))))
        return x.unflatten(1, self.last.bias.shape).permute(1, 2, 3, 0, 4, 5).flatten(3)

    def through_blocks(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class BatchedDenseNet(_OfPixels):
    """:class:`~evaluators.networks.proxies.DenseNet` many times over."""

    def through_blocks(self, x: Tensor) -> Tensor:
        for (conv, norm), dilation in zip(self.blocks, DenseNet.DILATIONS, strict=True):
            x = x + F.silu(norm.normalised(conv.convolved(x, dilation), DenseNet.GROUPS))
        return x


class BatchedFullyConvolutionalNet(_OfPixels):
    """:class:`~evaluators.networks.proxies.FullyConvolutionalNet` many times over."""

    def through_blocks(self, x: Tensor) -> Tensor:
        inner = pooled(x)
        for conv, norm in self.blocks:
            inner = inner + F.silu(norm.normalised(conv.convolved(inner), FullyConvolutionalNet.GROUPS))
        return x + F.interpolate(inner, x.shape[2:])


class Layer:
    """Weights and biases of one layer of every member, [seeds, candidates, ...]."""

    def __init__(self, layers: Sequence[nn.Module], candidates: int, device: torch.device) -> None:
        self.weight = repeated([_tensor(layer, "weight") for layer in layers], candidates, device)
        self.bias = repeated([_tensor(layer, "bias") for layer in layers], candidates, device)
        self.parameters = [self.weight, self.bias]

    def convolved(self, x: Tensor, dilation: int = 1) -> Tensor:
        """A 3x3 convolution of images [batch, members*channels, ...], or of one image for all candidates of a seed."""
        weight = self.weight.flatten(0, 2)
        if x.device.type == "cpu" and x.shape[1] == len(self.weight) and weight.shape[1] == 1:
            return self._convolved_grey(x)
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(x, weight, self.bias.flatten(), padding=dilation, dilation=dilation, groups=groups)

    def _convolved_grey(self, x: Tensor) -> Tensor:
        """Of one grey image a seed, [batch, seeds, ...], as a product: on a CPU twice as fast as the convolution."""
        batch, seeds, *size = x.shape
        patches = F.unfold(x.reshape(batch * seeds, 1, *size), 3, padding=1)
        weight, bias = self.weight.reshape(1, seeds, -1, 9), self.bias.reshape(1, seeds, -1, 1)
        bias, weight = (each.expand(batch, -1, -1, -1).flatten(0, 1) for each in (bias, weight))
        return torch.baddbmm(bias, weight, patches).view(batch, -1, *size)

    def normalised(self, x: Tensor, groups: int) -> Tensor:
        """Group normalisation of images [batch, members*channels, ...], within each member."""
        seeds, candidates, _ = self.weight.shape
        return F.group_norm(x, seeds * candidates * groups, self.weight.flatten(), self.bias.flatten())

    def applied(self, x: Tensor) -> Tensor:
        """The linear layer, of images [batch, members*channels, ...]: [seeds, candidates, size, batch]."""
        seeds, candidates, _, features = self.weight.shape
        flat = x.reshape(len(x), seeds, candidates, features).permute(1, 2, 3, 0)
        return torch.matmul(self.weight, flat) + self.bias.unsqueeze(3)


def batched_blocks(
    networks: Sequence[nn.ModuleList], candidates: int, device: torch.device
) -> list[tuple[Layer, Layer]]:
    """The convolution and the normalisation of every block of networks."""
    parts: list[list[Any]] = [list(blocks) for blocks in networks]
    return [
        (
            Layer([part[block][0] for part in parts], candidates, device),
            Layer([part[block][1] for part in parts], candidates, device),
        )
        for block in range(len(parts[0]))
    ]


def _tensor(layer: nn.Module, name: str) -> Tensor:
    tensor = getattr(layer, name)
    assert isinstance(tensor, Tensor)
    return tensor


def side_by_side(inputs: Tensor) -> Tensor:
    """Images of several seeds [seeds, batch, channels, ...] as channels of one batch [batch, seeds*channels, ...]."""
    return inputs.transpose(0, 1).flatten(1, 2)


def pooled(x: Tensor) -> Tensor:
    """The mean of every 2x2 pixels, as ``F.avg_pool2d(x, 2)``.

    Of small images on a CPU it is a product with a matrix, forward and backward seven times as fast.
    """
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        return F.avg_pool2d(x, 2)
    if x.device.type != "cpu" or height * width > LARGEST_BY_MATRIX:
        pooled: Tensor = _Pooling.apply(x)
        return pooled
    product = x.reshape(-1, height * width) @ _pooling_matrix(height, width)
    return product.view(*x.shape[:-2], height // 2, width // 2)


class _Pooling(torch.autograd.Function):
    """``F.avg_pool2d(x, 2)`` of even sides; its own gradient was a quarter of a step of a cohort on an H100."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        shares = 0.25 * gradients[0]
        *before, height, width = shares.shape
        spread = shares[..., :, None, :, None].expand(*before, height, 2, width, 2)
        return spread.reshape(*before, 2 * height, 2 * width)


@lru_cache(maxsize=8)
def _pooling_matrix(height: int, width: int) -> Tensor:
    """Means of 2x2 pixels as a matrix [height*width, height*width/4]."""
    pixels = torch.eye(height * width).view(-1, 1, height, width)
    return F.avg_pool2d(pixels, 2).flatten(1)


def repeated(parameters: Sequence[Tensor], candidates: int, device: torch.device) -> Tensor:
    """Parameters of one network for each seed as [seeds, candidates, ...] on the device, to be trained."""
    stacked = torch.stack([parameter.detach() for parameter in parameters]).unsqueeze(1).to(device)
    return stacked.repeat(1, candidates, *[1] * (stacked.ndim - 2)).requires_grad_()


#: How networks are batched, by their class. A network that is not here is trained one member at a time.
BATCHED: dict[type[nn.Module], Callable[..., BatchedNetwork]] = {
    Perceptron: BatchedPerceptron,
    ConvNet: BatchedConvNet,
    ResidualNet: BatchedResidualNet,
    DenseNet: BatchedDenseNet,
    FullyConvolutionalNet: BatchedFullyConvolutionalNet,
}
