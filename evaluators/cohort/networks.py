"""Batched networks: many networks of one architecture in the same tensors, each member with its own weights.

A member is a candidate under a seed. Its parameters are one slice of tensors whose first two dimensions are
[seeds, candidates]. Members under one seed start alike and see the same inputs. Nothing mixes members, so a diverging
one changes no other. Embeddings have the shape [seeds, candidates, size, batch]. The batch comes last, so that losses
reduce over classes along whole rows.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.networks.proxies import ConvNet, DenseNet, FullyConvolutionalNet, Perceptron, ResidualNet

#: Most pixels of an image that is pooled by a matrix. The matrix grows with their square.
LARGEST_MATRIX_IMAGE = 256


class BatchedNetwork(Protocol):
    """Many networks of one architecture: their parameters, and embeddings of inputs."""

    #: Tensors [seeds, candidates, ...] that an optimiser moves.
    parameters: list[Tensor]

    def embed(self, inputs: Tensor) -> Tensor:
        """Compute embeddings [seeds, candidates, size, batch] of inputs [seeds, batch, ...]."""


class BatchedPerceptron:
    """Many of :class:`~lossearch.evaluators.networks.proxies.Perceptron`."""

    def __init__(self, networks: Sequence[Perceptron], candidates: int, device: torch.device) -> None:
        self.hidden = Layer([network.hidden for network in networks], candidates, device)
        self.parameters = self.hidden.parameters

    def embed(self, inputs: Tensor) -> Tensor:
        seeds, candidates, size, features = self.hidden.weight.shape
        weight, bias = self.hidden.weight.view(seeds, -1, features), self.hidden.bias.view(seeds, -1, 1)
        hidden = torch.baddbmm(bias, weight, inputs.flatten(2).transpose(1, 2))
        return torch.relu(hidden).view(seeds, candidates, size, -1)


class BatchedConvNet:
    """Many of :class:`~lossearch.evaluators.networks.proxies.ConvNet`."""

    def __init__(self, networks: Sequence[ConvNet], candidates: int, device: torch.device) -> None:
        self.first, self.second, self.hidden = (
            Layer([getattr(network, name) for network in networks], candidates, device)
            for name in ("first", "second", "hidden")
        )
        self.parameters = [*self.first.parameters, *self.second.parameters, *self.hidden.parameters]

    def embed(self, inputs: Tensor) -> Tensor:
        x = pool(F.silu(self.first.convolve(merge_seeds(inputs))))
        x = pool(F.silu(self.second.convolve(x)))
        return F.silu(self.hidden.apply(x))


class BatchedResidualNet:
    """Many of :class:`~lossearch.evaluators.networks.proxies.ResidualNet`; groups are normalised within a member."""

    def __init__(self, networks: Sequence[ResidualNet], candidates: int, device: torch.device) -> None:
        self.stem = Layer([network.stem for network in networks], candidates, device)
        self.hidden = Layer([network.hidden for network in networks], candidates, device)
        self.blocks = batch_blocks([network.blocks for network in networks], candidates, device)
        layers = [self.stem, *(layer for block in self.blocks for layer in block), self.hidden]
        self.parameters = [parameter for layer in layers for parameter in layer.parameters]

    def embed(self, inputs: Tensor) -> Tensor:
        x = F.silu(self.stem.convolve(merge_seeds(inputs)))
        for conv, norm in self.blocks:
            x = pool(x + F.silu(norm.normalise(conv.convolve(x), ResidualNet.GROUPS)))
        return F.silu(self.hidden.apply(x))


class _BatchedPixelNetwork:
    """Many networks of two convolutions with blocks between them. Each pixel is a sample with its own embedding."""

    def __init__(
        self, networks: Sequence[DenseNet | FullyConvolutionalNet], candidates: int, device: torch.device
    ) -> None:
        self.stem, self.last = (
            Layer([getattr(network, name) for network in networks], candidates, device) for name in ("stem", "last")
        )
        self.blocks = batch_blocks([network.blocks for network in networks], candidates, device)
        layers = [self.stem, *(layer for block in self.blocks for layer in block), self.last]
        self.parameters = [parameter for layer in layers for parameter in layer.parameters]

    def embed(self, inputs: Tensor) -> Tensor:
        x = F.silu(self.last.convolve(self.apply_blocks(F.silu(self.stem.convolve(merge_seeds(inputs))))))
        return x.unflatten(1, self.last.bias.shape).permute(1, 2, 3, 0, 4, 5).flatten(3)

    def apply_blocks(self, x: Tensor) -> Tensor:
        """Apply the blocks to images [batch, members*channels, height, width]."""
        raise NotImplementedError


class BatchedDenseNet(_BatchedPixelNetwork):
    """Many of :class:`~lossearch.evaluators.networks.proxies.DenseNet`."""

    def apply_blocks(self, x: Tensor) -> Tensor:
        for (conv, norm), dilation in zip(self.blocks, DenseNet.DILATIONS, strict=True):
            x = x + F.silu(norm.normalise(conv.convolve(x, dilation), DenseNet.GROUPS))
        return x


class BatchedFullyConvolutionalNet(_BatchedPixelNetwork):
    """Many of :class:`~lossearch.evaluators.networks.proxies.FullyConvolutionalNet`."""

    def apply_blocks(self, x: Tensor) -> Tensor:
        inner = pool(x)
        for conv, norm in self.blocks:
            inner = inner + F.silu(norm.normalise(conv.convolve(inner), FullyConvolutionalNet.GROUPS))
        return x + F.interpolate(inner, x.shape[2:])


class Layer:
    """Weights and biases of one layer of all members, [seeds, candidates, ...]."""

    def __init__(self, layers: Sequence[nn.Module], candidates: int, device: torch.device) -> None:
        self.weight = repeat_for_candidates([_get_tensor(layer, "weight") for layer in layers], candidates, device)
        self.bias = repeat_for_candidates([_get_tensor(layer, "bias") for layer in layers], candidates, device)
        self.parameters = [self.weight, self.bias]

    def convolve(self, x: Tensor, dilation: int = 1) -> Tensor:
        """Convolve images [batch, members*channels, ...], or one image for all candidates of a seed, by 3x3 weights."""
        weight = self.weight.flatten(0, 2)
        if x.device.type == "cpu" and x.shape[1] == len(self.weight) and weight.shape[1] == 1:
            return self._convolve_grey(x)
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(x, weight, self.bias.flatten(), padding=dilation, dilation=dilation, groups=groups)

    def _convolve_grey(self, x: Tensor) -> Tensor:
        """Convolve one grey image for each seed, [batch, seeds, ...], by a product.

        On a CPU this is twice as fast as the convolution.
        """
        batch, seeds, *size = x.shape
        patches = F.unfold(x.reshape(batch * seeds, 1, *size), 3, padding=1)
        weight, bias = self.weight.reshape(1, seeds, -1, 9), self.bias.reshape(1, seeds, -1, 1)
        bias, weight = (tensor.expand(batch, -1, -1, -1).flatten(0, 1) for tensor in (bias, weight))
        return torch.baddbmm(bias, weight, patches).view(batch, -1, *size)

    def normalise(self, x: Tensor, groups: int) -> Tensor:
        """Normalise groups of channels of images [batch, members*channels, ...], within each member."""
        seeds, candidates, _ = self.weight.shape
        return F.group_norm(x, seeds * candidates * groups, self.weight.flatten(), self.bias.flatten())

    def apply(self, x: Tensor) -> Tensor:
        """Apply the linear layer to images [batch, members*channels, ...]. Returns [seeds, candidates, size, batch]."""
        seeds, candidates, _, features = self.weight.shape
        flat = x.reshape(len(x), seeds, candidates, features).permute(1, 2, 3, 0)
        return torch.matmul(self.weight, flat) + self.bias.unsqueeze(3)


def batch_blocks(networks: Sequence[nn.ModuleList], candidates: int, device: torch.device) -> list[tuple[Layer, Layer]]:
    """Batch the convolution and the normalisation of each block of the networks."""
    parts: list[list[Any]] = [list(blocks) for blocks in networks]
    return [
        (
            Layer([part[block][0] for part in parts], candidates, device),
            Layer([part[block][1] for part in parts], candidates, device),
        )
        for block in range(len(parts[0]))
    ]


def _get_tensor(layer: nn.Module, name: str) -> Tensor:
    tensor = getattr(layer, name)
    assert isinstance(tensor, Tensor)
    return tensor


def merge_seeds(inputs: Tensor) -> Tensor:
    """Merge images [seeds, batch, channels, ...] into the channels of one batch [batch, seeds*channels, ...]."""
    return inputs.transpose(0, 1).flatten(1, 2)


def pool(x: Tensor) -> Tensor:
    """Average every 2x2 pixels, as ``F.avg_pool2d(x, 2)`` does.

    On a CPU small images are pooled by a product with a matrix: forward and backward are seven times as fast.
    """
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        return F.avg_pool2d(x, 2)
    if x.device.type != "cpu" or height * width > LARGEST_MATRIX_IMAGE:
        result: Tensor = _Pooling.apply(x)
        return result
    product = x.reshape(-1, height * width) @ _build_pooling_matrix(height, width)
    return product.view(*x.shape[:-2], height // 2, width // 2)


class _Pooling(torch.autograd.Function):
    """``F.avg_pool2d(x, 2)`` of images with even sides, with a faster gradient.

    The gradient that torch computes took a quarter of a cohort's step on an H100.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        shares = 0.25 * gradients[0]
        *leading, height, width = shares.shape
        spread = shares[..., :, None, :, None].expand(*leading, height, 2, width, 2)
        return spread.reshape(*leading, 2 * height, 2 * width)


@lru_cache(maxsize=8)
def _build_pooling_matrix(height: int, width: int) -> Tensor:
    """Return the matrix [height*width, height*width/4] that averages every 2x2 pixels."""
    pixels = torch.eye(height * width).view(-1, 1, height, width)
    return F.avg_pool2d(pixels, 2).flatten(1)


def repeat_for_candidates(parameters: Sequence[Tensor], candidates: int, device: torch.device) -> Tensor:
    """Repeat each seed's parameter for all candidates: [seeds, candidates, ...] on the device, to be trained."""
    stacked = torch.stack([parameter.detach() for parameter in parameters]).unsqueeze(1).to(device)
    return stacked.repeat(1, candidates, *[1] * (stacked.ndim - 2)).requires_grad_()


#: Batched form of each class of network. A network that is not listed is trained one member at a time.
BATCHED: dict[type[nn.Module], Callable[..., BatchedNetwork]] = {
    Perceptron: BatchedPerceptron,
    ConvNet: BatchedConvNet,
    ResidualNet: BatchedResidualNet,
    DenseNet: BatchedDenseNet,
    FullyConvolutionalNet: BatchedFullyConvolutionalNet,
}
