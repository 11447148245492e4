"""Networks equal a reference with the same weights: torchvision's, or layers written out by hand."""

import pytest
import torch
import torch.nn.functional as F

from lossearch.evaluators.networks.registry import NETWORKS
from tests.evaluators.random_inputs import images, made, shapes


def settled(network):
    """Give the normalisations of a network values as after a training, and switch it to evaluation."""
    generator = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean):
                values.data = 0.5 * torch.randn(values.shape, generator=generator) + (values is module.weight)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return network.eval()


@pytest.mark.parametrize("training", [False, True])
def test_resnet18_equals_torchvisions_with_the_same_weights(training, operators):
    from torchvision.models import resnet18

    ours, theirs = settled(made("resnet18", (3, 96, 80), 512)).train(training), resnet18()
    theirs.fc = torch.nn.Identity()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    inputs = images(3, 3, 96, 80)
    torch.testing.assert_close(ours(inputs), theirs.train(training)(inputs), atol=1e-4, rtol=1e-4)


def convolved(layer, x):
    """Compute a normalised convolution from unfolded windows of 3x3 pixels."""
    convolution, norm = layer
    columns = convolution.weight.flatten(1) @ F.unfold(x, 3, padding=1)
    maps = columns.unflatten(2, x.shape[2:])
    mean, var, scale, shift = (
        values.view(-1, 1, 1) for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (maps - mean) / (var + norm.eps).sqrt() * scale + shift


def largest(x):
    """Compute the maximum of each 2x2 pixels, or of fewer at the edges."""
    x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), value=-torch.inf)
    return torch.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(0)


def raised(layer, x):
    """Compute a transposed convolution of 2x2 pixels with a stride of 2: each pixel becomes four."""
    four = torch.einsum("nchw,cdij->ndhiwj", x, layer.weight)
    return four.flatten(4, 5).flatten(2, 3) + layer.bias.view(-1, 1, 1)


def test_a_unet_equals_the_layers_of_its_paper():
    network, x = settled(made("unet", (3, 13, 10))), images(2, 3, 13, 10)

    def two(level, x):
        for layer in (level[0], level[2]):
            x = convolved(layer, x).clamp(min=0.0)
        return x

    maps = [two(network.down[0], x)]
    for level in network.down[1:]:
        maps.append(two(level, largest(maps[-1])))
    below = maps.pop()
    for layer, level in zip(network.raised, network.up, strict=True):
        skip = maps.pop()
        cropped = raised(layer, below)[:, :, : skip.shape[2], : skip.shape[3]]
        below = two(level, torch.cat([skip, cropped], 1))
    wanted = below.permute(0, 2, 3, 1).reshape(-1, 12)
    torch.testing.assert_close(network(x), wanted, atol=1e-4, rtol=1e-4)


def test_the_vgg_of_pedcc_equals_the_layers_of_its_paper():
    network, x = settled(made("vgg_pedcc", (3, 16, 24))), images(2, 3, 16, 24)
    maps, layers = x, iter(network.features)
    for width, depth in ((96, 1 + 4), (192, 4), (384, 4)):
        for _ in range(depth):
            maps, slope = convolved(next(layers), maps), next(layers).weight.view(-1, 1, 1)
            assert maps.shape[1] == width
            maps = torch.where(maps > 0, maps, slope * maps)
        next(layers)
        maps = largest(maps)
    torch.testing.assert_close(network(x), network.hidden(maps.flatten(1)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_embedding_depends_on_its_own_sample_alone(name):
    shape = shapes(name)[1]
    network, inputs = settled(made(name, shape)), images(3, *shape).requires_grad_()
    second = network(inputs).unflatten(0, (3, -1))[1]
    (gradient,) = torch.autograd.grad((second * images(*second.shape, seed=2)).sum(), inputs)
    assert gradient[1].abs().max() > 0
    assert not gradient[[0, 2]].any()
