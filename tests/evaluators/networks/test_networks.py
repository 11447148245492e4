"""Every registered network maps inputs to embeddings, draws weights from its generator alone, and learns."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from lossearch.evaluators.cohort.cohort import find_batching_obstacle
from lossearch.evaluators.cohort.networks import BATCHED
from lossearch.evaluators.networks import DENSE
from lossearch.evaluators.networks.emosynthnet import EmoSynthNet, pool_evenly
from lossearch.evaluators.networks.layers import linear
from lossearch.evaluators.networks.registry import NETWORKS
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import known_task
from tests.evaluators.random_inputs import images, made, shapes

NEEDS_IMAGES = [name for name, network in NETWORKS.items() if network.SMALLEST]

#: Number of parameters by network, shape of an input and size of an embedding.
PARAMETERS = {
    ("mlp", (1, 8, 8), 32): 64 * 32 + 32,
    ("cnn", (1, 8, 8), 16): (9 * 8 + 8) + (72 * 16 + 16) + (64 * 16 + 16),
    ("resnet", (1, 8, 8), 16): (9 * 8 + 8) + 2 * (72 * 8 + 8 + 16) + (32 * 16 + 16),
    ("dense", (1, 8, 8), 16): (9 * 8 + 8) + 2 * (72 * 8 + 8 + 16) + (72 * 16 + 16),
    ("fcn", (1, 8, 8), 16): (9 * 8 + 8) + 2 * (72 * 8 + 8 + 16) + (72 * 16 + 16),
    # 3x3 weights; shifts, scales and slopes of all maps; the fully connected layer
    ("vgg_pedcc", (3, 32, 32), 512): 9 * (3 * 96 + 4 * 96**2 + 96 * 192 + 3 * 192**2 + 192 * 384 + 3 * 384**2)
    + 3 * (5 * 96 + 4 * 192 + 4 * 384)
    + (384 * 16 + 1) * 512,
    # torchvision's resnet18 has 11,689,512, of which 512 * 1000 + 1000 in its head
    ("resnet18", (3, 224, 224), 512): 11_689_512 - 513_000,
    ("resnet18", (3, 32, 32), 512): 11_689_512 - 513_000 - (49 - 9) * 3 * 64,
    ("resnet18", (3, 32, 32), 10): 11_168_832 + 5_130,
    # 3x3 and 1x1 weights, with the fully connected layer's; scales, shifts and slopes: as insightface's iresnet18
    ("resnet18_ir", (3, 112, 112), 512): 9 * (3 * 64 + 4 * 64**2 + 64 * 128 + 3 * 128**2 + 128 * 256 + 3 * 256**2)
    + 9 * (256 * 512 + 3 * 512**2)
    + (64**2 + 64 * 128 + 128 * 256 + 256 * 512)
    + (512 * 49 + 1) * 512
    + (14_720 + 1_984),
    # down: 3 -> 16 -> 32 -> 64 -> 128; transposed convolutions; up: 128 -> 64, 64 -> 32, 32 -> 64
    ("unet", (3, 33, 17), 64): (2_800 + 13_952 + 55_552 + 221_696)
    + 4 * (128 * 64 + 64 * 32 + 32 * 16)
    + (64 + 32 + 16)
    + (110_848 + 27_776 + 55_552),
    # blocks 1 to 5, the two modules, dense layers of 256 * 20^2, 128 and 64
    ("emosynthnet", (3, 32, 32), 64): (93_248 + 516_608 + 2_065_408 + 5_899_776 + 2 * (32 + 3 * 64 + 8 * 192 + 3 * 512))
    + (512 * 512 * 9 + 512)
    + (1408 * 256 * 9 + 256)
    + (937_792 + 256 * 256)
    + (937_792 + 256 * 640)
    + (256 * 400 * 128 + 128)
    + (128 * 64 + 64),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_inputs_of_every_size_are_mapped_to_embeddings(name):
    for shape in shapes(name):
        samples = 2 * shape[1] * shape[2] if name in DENSE else 2
        assert made(name, shape)(images(2, *shape)).shape == (samples, 12)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_those_of_the_generator_and_of_no_other(name):
    shape, before = shapes(name)[0], torch.get_rng_state()
    first, again, other = (made(name, shape, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(("name", "shape", "size"), PARAMETERS)
def test_a_network_has_the_parameters_of_its_source(name, shape, size):
    count = sum(parameter.numel() for parameter in made(name, shape, size).parameters())
    assert count == PARAMETERS[name, shape, size]


def test_the_parameters_of_every_network_are_counted():
    assert {name for name, _, _ in PARAMETERS} == NETWORKS.keys()


@pytest.mark.parametrize("name", NEEDS_IMAGES)
def test_inputs_that_are_no_images_or_too_small_are_refused(name):
    smallest = NETWORKS[name].SMALLEST
    for shape in ((64,), (3, smallest - 1, smallest), (3, smallest, smallest - 1)):
        with pytest.raises(
            ValueError, match=rf"Expected images .* each side at least {smallest}, got \[.*Use a network"
        ):
            made(name, shape)


@pytest.mark.parametrize("name", NEEDS_IMAGES)
def test_a_task_names_the_smallest_image_of_a_network(name):
    smallest, fidelity = NETWORKS[name].SMALLEST, TrainingSettings(network=name)
    task = known_task("shapes_segmentation" if name in DENSE else "shapes")
    assert replace(task, shape=(3, smallest, smallest)).obstacle(fidelity) is None
    obstacle = replace(task, shape=(3, smallest, smallest - 1)).obstacle(fidelity)
    assert f"network = {name!r} needs images of at least {smallest} pixels each way" in obstacle
    assert repr(name) not in obstacle.partition("Use network =")[2]


def test_a_task_proposes_a_network_that_suits_it():
    flat = replace(known_task("digits"), shape=(64,))
    assert flat.obstacle(TrainingSettings(network="cnn")).endswith("Use network = 'mlp' without shift and flip.")
    assert flat.obstacle(TrainingSettings(flip=True)).startswith("fidelity: flip needs images of at least 4 pixels")
    assert flat.obstacle(TrainingSettings()) is None


@pytest.mark.parametrize("name", NETWORKS)
def test_a_gradient_reaches_every_parameter(name):
    network, shape = made(name, shapes(name)[0]), shapes(name)[0]
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of dropout
        embeddings = network(images(8, *shape))
    (embeddings * images(*embeddings.shape, seed=2)).sum().backward()
    for key, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), key
        if not key.endswith("bias"):  # a normalisation above cancels a bias, whose gradient is rounding
            assert parameter.grad.abs().max() > 1e-6, key


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_learns(name):
    """A few steps lower the loss on dark and bright images, or pixels, whose embeddings are in the order of targets."""
    shape, targets = shapes(name)[0], torch.tensor([0, 1] * 4)
    if name in DENSE:
        targets = (images(8, *shape[1:]) > 0).long()
    inputs = images(8, *shape, seed=2) / 4 + (2.0 * targets - 1.0).reshape(8, 1, *(targets.shape[1:] or (1, 1)))
    network = made(name, shape)
    head = linear(12, 2, torch.Generator().manual_seed(3))
    rate, steps = (0.0003, 5) if name == "emosynthnet" else (0.03, 12)  # its dense layer has 65,536 inputs
    optimizer = torch.optim.SGD([*network.parameters(), *head.parameters()], rate, 0.9)
    losses = []
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of dropout
        for _ in range(steps):
            loss = F.cross_entropy(head(network(inputs)), targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0], losses


@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network not in BATCHED])
def test_a_network_without_a_batched_form_says_so(name):
    reason = find_batching_obstacle(known_task("shapes"), TrainingSettings(network=name))
    assert reason == f"the network {name} ({NETWORKS[name].__name__}) has no batched form"


def test_labels_tell_networks_whose_names_end_in_numbers_apart():
    first, other = TrainingSettings(network="resnet18", hidden=64), TrainingSettings(network="resnet", hidden=1864)
    assert first.label().startswith("resnet18-64-")
    assert first.label() != other.label()


def test_the_main_branch_of_emosynthnet_has_the_parameters_and_the_size_of_its_table():
    """Table 3.2 of the thesis has 21 million and 82 MB: the main branch for MNIST, with its last layer of 10."""
    network = made("emosynthnet", (1, 28, 28), 64)
    side = sum(parameter.numel() for parameter in network.side.parameters())
    joined = 896 * 256 * 9  # weights of the second transposed convolution for the side branch
    main = sum(parameter.numel() for parameter in network.parameters()) - side - joined + 64 * 10 + 10
    assert (round(main / 1e6), round(4 * main / 1e6)) == (21, 82)


def test_maps_of_emosynthnet_have_the_sizes_of_its_equations():
    """Section 3.2.3: m/16 + 2 after the first transposed convolution, 1408 maps; m/8 + 6 after the second."""
    network, sizes = made("emosynthnet", (3, 48, 48)), {}
    for name in ("first_raised", "second_raised", "dense"):
        getattr(network, name).register_forward_hook(
            lambda module, inputs, output, name=name: sizes.update({name: (inputs[0].shape[1:], output.shape[1:])})
        )
    network(images(2, 3, 48, 48))
    assert sizes["first_raised"] == ((512, 3, 3), (512, 5, 5))
    assert sizes["second_raised"] == ((1408, 10, 10), (256, 12, 12))
    assert sizes["dense"] == ((256 * 24**2,), (EmoSynthNet.DENSE,))


def test_even_pooling_equals_pooling_with_a_stride_if_one_fits():
    x = images(2, 3, 8, 8)
    strided = F.avg_pool2d(x, 7, 2, 3, count_include_pad=False)
    torch.testing.assert_close(pool_evenly(x, (4, 4)), strided)
