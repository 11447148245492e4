"""Scales of inputs: wild ones are named with their columns, ordinary ones are not."""

import pytest
import torch

from lossearch.evaluators.data.splits import Split
from lossearch.evaluators.tasks.scales import describe_scales


def columns(*pairs):
    """Make normal columns of these means and standard deviations."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(400, len(pairs), generator=generator, dtype=torch.float64)
    mean, deviation = torch.tensor(pairs, dtype=torch.float64).T
    return Split((mean + deviation * normal).float(), torch.zeros(400, dtype=torch.int64))


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (columns((0, 1), (750, 315), (1, 0.12)), ("in column 1 and", "in column 2,")),
        (columns((0, 1), (2_000, 10)), ("the mean of column 1 is 2e+03",)),
        (columns((0, 2e5), (0, 3e5)), ("a typical standard deviation of a column is",)),
        (columns((0, 1e-5), (0, 2e-5)), ("a typical standard deviation of a column is",)),
    ],
)
def test_wild_scales_are_named(split, words):
    assert all(word in describe_scales(split) for word in words)


def test_ordinary_scales_are_not_mentioned():
    assert describe_scales(columns((0, 1), (13, 0.8), (5, 20), (0, 0.1))) is None
    assert describe_scales(Split(torch.zeros(9, 2), torch.zeros(9))) is None  # constant
    assert describe_scales(Split(torch.zeros(9, 1, 4, 4, dtype=torch.uint8), torch.zeros(9))) is None


def test_columns_that_are_nearly_always_0_are_no_wild_scale():
    split = columns((0, 1), (0, 1))
    split.inputs[:, 1] = 0.0
    split.inputs[:3, 1] = 1e-5
    assert describe_scales(split) is None


def test_images_are_looked_at_by_channel():
    images = columns(*[(0, 1)] * 16).inputs.view(400, 1, 4, 4)
    assert describe_scales(Split(images, torch.zeros(400))) is None
    both = torch.cat([images, 1e4 * images], 1)
    assert "in channel 1 and 0.997 in channel 0, 10,000 times less" in describe_scales(Split(both, torch.zeros(400)))
