"""Predefined evenly-distributed class centroids (PEDCC): unit vectors as far apart as possible.

Zhu et al. 2019 find them as charges that repel each other on the sphere and come to rest. Where the rest position has a
closed form, it is used; elsewhere the charges are moved towards it. The functions need torch and none of our modules:
the exporter copies their source.
"""

import math

import torch
from torch import Tensor


def regular_polygon(corners: int) -> Tensor:
    """Return the corners [corners, 2] of the regular polygon on the unit circle."""
    angle = torch.arange(corners, dtype=torch.float64) * (2.0 * math.pi / corners)
    return torch.stack([angle.cos(), angle.sin()], 1)


def regular_simplex(corners: int) -> Tensor:
    """Return the corners [corners, corners - 1] of the regular simplex: unit vectors with cosines -1/(corners - 1)."""
    if corners == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    k = torch.arange(1, corners, dtype=torch.float64)
    # Helmert's basis of the vectors with sum zero: column k is k ones, then -k, over sqrt(k (k + 1)).
    basis = torch.ones(corners, corners - 1, dtype=torch.float64).triu()
    basis.diagonal(-1).copy_(-k)
    return basis / torch.sqrt(k * (k + 1.0)) * math.sqrt(corners / (corners - 1))


def orthogonal_simplices(classes: int, size: int) -> Tensor:
    """Place regular simplices of nearly equal sizes at right angles, [classes, at most size]; classes <= 2 size.

    A simplex spans one dimension less than it has corners, so classes - size simplices fill the space: one for up to
    size + 1 classes, and for 2 size classes the pairs of opposite points of the cross-polytope.
    """
    groups = max(1, classes - size)
    points = torch.zeros(classes, classes - groups if classes > 1 else 1, dtype=torch.float64)
    row = column = 0
    for group in range(groups):
        simplex = regular_simplex(classes // groups + (group < classes % groups))
        points[row : row + len(simplex), column : column + simplex.shape[1]] = simplex
        row, column = row + len(simplex), column + simplex.shape[1]
    return points


def balanced(points: Tensor, rounds: int = 5) -> Tensor:
    """Return unit vectors near ``points`` [classes, size] with mean zero and equal variance in all directions.

    Each round brings them closer to both. Such vectors minimise the first two terms of the energy as a power series in
    the cosines, which are nearly all of it for large sizes.
    """
    for _ in range(rounds):
        points = torch.nn.functional.normalize(torch.linalg.qr(points - points.mean(0)).Q, dim=1)
    return points


def repulsion(points: Tensor, rows: int = 256) -> tuple[Tensor, Tensor]:
    """Compute the force on each unit vector and its stiffness, [classes, size] and [classes, 1].

    The force on i is the sum over j of (x_i - x_j) / |x_i - x_j|**3, the stiffness that of 1 / |x_i - x_j|**3.
    Distances are computed for ``rows`` points at a time: memory grows with rows * classes, not classes**2.
    """
    force, stiffness = torch.empty_like(points), torch.empty_like(points[:, :1])
    for start in range(0, len(points), rows):
        here = slice(start, start + rows)
        squared_distance = (2.0 - 2.0 * points[here] @ points.T).clamp(min=1e-12)
        inverse_cube = squared_distance.rsqrt().pow(3)
        inverse_cube.diagonal(start).zero_()  # a point does not repel itself
        stiffness[here] = inverse_cube.sum(1, keepdim=True)
        force[here] = stiffness[here] * points[here] - inverse_cube @ points
    return force, stiffness


def at_rest(points: Tensor, steps: int, tolerance: float = 1e-5) -> Tensor:
    """Move unit vectors ``points`` [classes, size] under their repulsion, with friction, until they rest.

    They rest when the force along the sphere is at most ``tolerance`` times the force outwards; there are at most
    ``steps`` steps. Momentum, unlike a line search, does not magnify rounding: every machine finds the same points.
    """
    velocity = torch.zeros_like(points)
    for step in range(steps):
        force, stiffness = repulsion(points)
        outwards = (force * points).sum(1, keepdim=True) * points
        along = force - outwards
        if along.norm() <= tolerance * outwards.norm():
            break
        velocity = min(step / (step + 3.0), 0.95) * velocity + along / stiffness
        points = torch.nn.functional.normalize(points + velocity, dim=1)
    return points


def least_energy(classes: int, size: int, generator: torch.Generator) -> Tensor:
    """Find unit vectors [classes, at most size] with a small energy, the sum over pairs of 1 / |x_i - x_j|."""
    if classes <= 2 * size:
        return orthogonal_simplices(classes, size)
    if size == 2:
        return regular_polygon(classes)
    start = torch.randn(classes, size, dtype=torch.float64, generator=generator)
    # Many classes get fewer steps, which take longer: they are close to rest once they are balanced.
    return at_rest(balanced(start), steps=min(500, 200_000 // classes))


def evenly_distributed(classes: int, size: int) -> Tensor:
    """Return centroids, unit vectors [classes, size] in float32 on the CPU, the same for the same arguments.

    Measured evenness:

    - classes <= size + 1: the regular simplex, every cosine -1/(classes - 1);
    - classes <= 2 size: largest cosine 0, the least possible (Rankin 1955), and mean zero. Moving
      charges found no lower energy for 24 pairs of classes and size up to (200, 128);
    - size 2: the regular polygon;
    - size 3: within 1e-6 of the least energy known (Thomson problem) for 8, 10, 12, 24, 32, 100 classes;
    - beyond: energy above the lower bound of Boyvalenkov et al. (2016) by 3e-4
      of it for (100, 16), 8e-5 for (1000, 64), 3e-5 for (10000, 512): 46, 18 and 4 times less than
      random directions; mean vector shorter than 1e-4. The energy weighs all pairs, and
      many classes get few steps: the closest pair of (10000, 512) has cosine 0.24, at random 0.25.

    Raises ValueError unless both are whole numbers above 0, and for three classes on a line.
    Source: Zhu et al. 2019, section III-B.
    """
    for name, value in (("classes", classes), ("size", size)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"Expected {name} to be a whole number from 1, got {value!r}. Pass how many there are.")
    if size == 1 and classes > 2:
        raise ValueError(f"Expected at most 2 classes for size 1, got {classes}. Use embeddings of size 2 or more.")
    generator = torch.Generator().manual_seed(0)
    with torch.device("cpu"), torch.no_grad():
        points = least_energy(classes, size, generator)
        # A random rotation: no embedding dimension is left out or has a meaning of its own.
        random = torch.randn(size, points.shape[1], dtype=torch.float64, generator=generator)
        frame: Tensor = torch.linalg.qr(random).Q
        return (points @ frame.T).to(torch.float32)
