import pytest
import torch
import torch.nn.functional as F

from lossearch.evaluators.cohort.networks import pool


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (18, 34), (9, 8), (33, 32)])
def test_images_of_any_size_are_pooled_as_torch_does(size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, *size, generator=generator, requires_grad=True)
    ours, theirs = pool(x), F.avg_pool2d(x, 2)
    torch.testing.assert_close(ours, theirs)
    gradient = torch.randn(theirs.shape, generator=generator)
    (there,) = torch.autograd.grad(theirs, x, gradient)
    (here,) = torch.autograd.grad(ours, x, gradient)
    torch.testing.assert_close(here, there)
