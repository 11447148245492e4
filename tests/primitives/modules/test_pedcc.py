"""Centroids are spread as evenly as theory, or the best arrangements known, allow."""

import functools
import math

import pytest
import torch

from lossearch.primitives.modules import pedcc
from lossearch.primitives.modules.pedcc import evenly_distributed

EVERY_KIND = [(1, 1), (1, 4), (2, 1), (2, 7), (4, 3), (10, 64), (5, 3), (100, 64), (12, 6), (7, 2), (24, 3), (40, 8)]

# Least known energies of the Thomson problem: Wales and Ulker 2006, as the Wikipedia table has them.
THOMSON = {
    4: 3.674234614,
    5: 6.474691495,
    6: 9.985281374,
    8: 19.675287861,
    10: 32.716949460,
    12: 49.165253058,
    24: 223.347074052,
    32: 412.261274651,
    100: 4448.350634331,
}


centroids = functools.cache(evenly_distributed)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Matrices of this size gain nothing from a second thread, and wait long for it on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def cosines(points):
    """Return cosine of every pair, [pairs]."""
    classes = len(points)
    row, column = torch.triu_indices(classes, classes, 1)
    return (points.double() @ points.double().T)[row, column]


def energy(points):
    return (2.0 - 2.0 * cosines(points)).rsqrt().sum().item()


def random_directions(classes, size):
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(classes, size, dtype=torch.float64, generator=generator)
    return torch.nn.functional.normalize(points, dim=1)


def least_possible_energy(classes, size):
    """Compute the universal lower bound of Boyvalenkov et al. 2016 for 2 size < classes <= size (size + 1).

    It is the energy of a distribution of cosines on two points that has the moments 0 to 3 of the
    uniform distribution on the sphere (1, 0, 1/size, 0), less the 1/classes at cosine 1.
    """
    m0, m1, m2, m3 = (moment - 1.0 / classes for moment in (1.0, 0.0, 1.0 / size, 0.0))
    p, q = torch.linalg.solve(torch.tensor([[m1, m0], [m2, m1]]).double(), -torch.tensor([m2, m3]).double()).tolist()
    low, high = (-p / 2.0 + sign * math.sqrt(p * p / 4.0 - q) for sign in (-1.0, 1.0))  # t**2 + p t + q = 0
    weight_high = (m1 - low * m0) / (high - low)
    mean = (m0 - weight_high) / math.sqrt(2.0 - 2.0 * low) + weight_high / math.sqrt(2.0 - 2.0 * high)
    return classes**2 / 2.0 * mean


@pytest.mark.parametrize(("classes", "size"), EVERY_KIND)
def test_centroids_are_unit_vectors_in_float32(classes, size):
    points = centroids(classes, size)
    assert points.shape == (classes, size)
    assert points.dtype == torch.float32
    torch.testing.assert_close(points.norm(dim=1), torch.ones(classes))


@pytest.mark.parametrize(("classes", "size"), [kind for kind in EVERY_KIND if kind[0] > 1])
def test_mean_of_the_centroids_is_zero(classes, size):
    assert centroids(classes, size).mean(0).norm() < 1e-4


@pytest.mark.parametrize(
    ("classes", "size"), [(2, 1), (2, 5), (3, 2), (4, 3), (10, 9), (10, 64), (100, 99), (100, 512)]
)
def test_every_pair_of_at_most_size_plus_one_classes_has_the_cosine_of_the_simplex(classes, size):
    all_cosines = cosines(centroids(classes, size))
    torch.testing.assert_close(all_cosines, torch.full_like(all_cosines, -1.0 / (classes - 1)), rtol=0.0, atol=3e-7)


@pytest.mark.parametrize(("classes", "size"), [(4, 2), (5, 3), (7, 4), (20, 16), (100, 64), (128, 64), (1000, 512)])
def test_largest_cosine_of_at_most_two_size_classes_is_zero(classes, size):
    # Rankin 1955: more than size + 1 vectors cannot all be at obtuse angles.
    assert cosines(centroids(classes, size)).max().item() == pytest.approx(0.0, abs=3e-7)


@pytest.mark.parametrize("size", [1, 3, 16])
def test_two_size_classes_are_the_cross_polytope(size):
    points = centroids(2 * size, size)
    torch.testing.assert_close((points @ points.T).amin(1), -torch.ones(2 * size))


@pytest.mark.parametrize(("classes", "size"), [(5, 3), (6, 4), (8, 5), (12, 7), (25, 16)])
def test_moved_charges_find_no_less_energy_than_orthogonal_simplices(classes, size):
    moved = pedcc.at_rest(pedcc.balanced(random_directions(classes, size)), steps=500)
    assert energy(pedcc.orthogonal_simplices(classes, size)) < energy(moved) + 1e-6


@pytest.mark.parametrize("classes", [5, 10, 100])
def test_largest_cosine_on_the_circle_is_that_of_the_regular_polygon(classes):
    largest = cosines(centroids(classes, 2)).max().item()
    assert largest == pytest.approx(math.cos(2.0 * math.pi / classes), abs=3e-7)


@pytest.mark.parametrize("classes", THOMSON)
def test_energy_on_the_sphere_is_the_least_known(classes):
    assert energy(centroids(classes, 3)) == pytest.approx(THOMSON[classes], rel=1e-5)


@pytest.mark.parametrize(
    ("classes", "size", "expected"),
    [(16, 5, [-3 / 5, 1 / 5]), (27, 6, [-1 / 2, 1 / 4]), (56, 7, [-1.0, -1 / 3, 1 / 3])],
)
def test_the_best_arrangements_proven_are_found(classes, size, expected):
    # Cohn and Kumar 2007, Table 1: they have the least energy for every completely monotonic repulsion.
    distance = (cosines(centroids(classes, size)).unsqueeze(1) - torch.tensor(expected)).abs().amin(1)
    assert distance.max() < 2e-3


@pytest.mark.parametrize(("classes", "size", "above"), [(40, 8, 2e-3), (100, 16, 5e-4)])
def test_energy_is_close_to_the_least_possible(classes, size, above):
    least = least_possible_energy(classes, size)
    assert least < energy(centroids(classes, size)) < (1.0 + above) * least
    assert energy(random_directions(classes, size)) > (1.0 + 10.0 * above) * least


def test_least_possible_energy_is_that_of_a_proven_arrangement():
    # 16 vectors of size 5: each meets 10 others at cosine 1/5, 5 at -3/5.
    expected = 8.0 * (10.0 / math.sqrt(1.6) + 5.0 / math.sqrt(3.2))
    assert least_possible_energy(16, 5) == pytest.approx(expected, rel=1e-6)


def test_repulsion_is_minus_the_gradient_of_the_energy():
    points = random_directions(20, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.pdist(points).reciprocal().sum(), points)
    force, _ = pedcc.repulsion(points.detach())
    torch.testing.assert_close(force, -gradient)


def test_repulsion_is_the_same_in_blocks_of_any_size():
    points = random_directions(20, 4)
    torch.testing.assert_close(pedcc.repulsion(points, rows=7), pedcc.repulsion(points))


def test_rounding_is_not_magnified():
    start = random_directions(100, 16)
    other = start * (1.0 + 1e-15 * torch.randn(start.shape, generator=torch.Generator().manual_seed(2)))
    first, again = (pedcc.at_rest(pedcc.balanced(vectors), steps=500) for vectors in (start, other))
    torch.testing.assert_close(first, again, rtol=0.0, atol=1e-9)


def test_every_embedding_dimension_is_used():
    assert (centroids(10, 64).abs().amax(0) > 0.01).all()


@pytest.mark.parametrize(("classes", "size"), [(10, 64), (24, 3)])
def test_centroids_depend_on_nothing_but_their_number_and_size(classes, size):
    expected = evenly_distributed(classes, size)
    torch.manual_seed(12345)
    state = torch.get_rng_state()
    with torch.device("meta"):
        first = evenly_distributed(classes, size)
    assert torch.equal(first, expected)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("classes", "size"), [(0, 3), (-1, 3), (3, 0), (2.0, 3), (3, "2")])
def test_a_number_that_is_not_positive_and_whole_is_refused(classes, size):
    with pytest.raises(ValueError, match=r"Expected (classes|size) to be a whole number from 1, got"):
        evenly_distributed(classes, size)


def test_three_classes_on_a_line_are_refused():
    with pytest.raises(ValueError, match=r"Expected at most 2 classes for size 1, got 3\. Use embeddings of size 2"):
        evenly_distributed(3, 1)
