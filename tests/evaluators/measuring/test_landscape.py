"""The landscape around weights is tested with functions whose Hessian is known."""

import numpy as np
import pytest
import torch

from lossearch.evaluators.measuring.landscape import draw_directions, extreme_eigenvalues, ratios_around, values_around
from lossearch.evaluators.measuring.observing import class_maps
from lossearch.evaluators.networks.registry import NETWORKS


def quadratic(seed=0, size=40, low=-2.0, high=5.0):
    """Return x'Ax/2 as a function, its parameter x and the matrix A, whose eigenvalues lie between two ends."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator))
    matrix = basis @ torch.diag(torch.linspace(low, high, size)) @ basis.T
    parameter = torch.randn(size // 4, 4, generator=generator, requires_grad=True)

    def value():
        return 0.5 * parameter.flatten() @ matrix @ parameter.flatten()

    return value, parameter, matrix


@pytest.mark.parametrize(("low", "high"), [(-2.0, 5.0), (0.5, 3.0), (-4.0, 1.0)])
def test_extreme_eigenvalues_are_those_of_the_hessian(low, high):
    value, parameter, _ = quadratic(low=low, high=high)
    assert extreme_eigenvalues(value, [parameter]) == (pytest.approx(low, rel=0.1), pytest.approx(high, rel=0.1))


def test_a_value_without_a_hessian_has_no_eigenvalues():
    parameter = torch.ones(3, 4, requires_grad=True)
    assert extreme_eigenvalues(lambda: parameter.sum(), [parameter]) is None


def test_filters_of_a_direction_are_as_long_as_the_networks_and_biases_stay():
    weight, bias = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0)), torch.ones(5)
    for drawn in draw_directions([weight, bias], torch.Generator().manual_seed(1)):
        torch.testing.assert_close(drawn[0].flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1))
        assert not drawn[1].any()


def test_values_and_ratios_are_computed_at_the_points_and_the_weights_end_where_they_began():
    value, parameter, matrix = quadratic()
    before = parameter.detach().clone()
    along = draw_directions([parameter], torch.Generator().manual_seed(2))
    grid = (-1.0, 0.0, 0.5)
    for a, b, measured in values_around(value, [parameter], along, grid):
        there = (before + a * along[0][0] + b * along[1][0]).flatten()
        assert measured == pytest.approx(float(0.5 * there @ matrix @ there), rel=1e-4)
    ratios = ratios_around(value, [parameter], along, grid)
    assert [(a, b) for a, b, _ in ratios] == [(a, b) for a in grid for b in grid]
    assert np.allclose([ratio for *_, ratio in ratios], 0.4, rtol=0.1)
    assert torch.equal(parameter, before)


def test_points_without_a_finite_value_are_left_out():
    parameter = torch.ones(2, 2, requires_grad=True)
    along = [[torch.ones(2, 2)], [torch.zeros(2, 2)]]
    points = values_around(lambda: (parameter.sum() + 2.0).log(), [parameter], along, (-2.0, 0.0))
    assert {a for a, _, _ in points} == {0.0}


def test_a_class_map_lies_where_the_class_is_decided():
    """The only feature of the network is the sum over the lower right quarter."""
    pixels = torch.nn.Conv2d(1, 1, 1, bias=False)
    torch.nn.init.ones_(pixels.weight)
    quarter = torch.zeros(8, 8)
    quarter[4:, 4:] = 1.0

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pixels = pixels

        def forward(self, images):
            return (self.pixels(images) * quarter).sum((1, 2, 3)).unsqueeze(1)

    images = torch.zeros(2, 1, 8, 8)
    images[0, 0, 5, 5] = images[1, 0, 6, 7] = 1.0
    maps = class_maps(Network(), lambda seen: torch.cat([seen, -seen], 1), images)
    assert maps[0].argmax() == 5 * 8 + 5
    assert maps[1].argmax() == 6 * 8 + 7
    assert float(maps.max()) == pytest.approx(1.0)


def test_a_network_without_feature_maps_has_no_class_maps():
    perceptron = NETWORKS["mlp"]((1, 8, 8), 16, torch.Generator().manual_seed(0))
    assert class_maps(perceptron, lambda seen: seen, torch.zeros(2, 1, 8, 8)) is None
