"""Landscape of a loss around trained weights: its value, and the extreme eigenvalues of its Hessian.

Directions are random, and each filter of a direction is as long as the network's, so that networks with weights of
different sizes can be compared (Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018).
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

#: Lanczos: relative accuracy of eigenvalues, number of vectors that are kept, and most restarts from the best of them.
TOLERANCE, VECTORS, RESTARTS = 0.1, 12, 4

T = TypeVar("T")

#: Function that computes the loss at the current parameters.
Value = Callable[[], Tensor]


def draw_directions(parameters: Sequence[Tensor], generator: torch.Generator, count: int = 2) -> list[list[Tensor]]:
    """Draw random directions, each filter as long as the parameter's. Biases and scales do not move."""
    return [[_draw_direction(parameter, generator) for parameter in parameters] for _ in range(count)]


def _draw_direction(parameter: Tensor, generator: torch.Generator) -> Tensor:
    if parameter.ndim < 2:
        return torch.zeros_like(parameter)
    direction = torch.randn(parameter.shape, generator=generator)
    length = direction.flatten(1).norm(dim=1).clamp_min(1e-12)
    target_length = parameter.detach().flatten(1).norm(dim=1)
    return direction * (target_length / length).view(-1, *[1] * (parameter.ndim - 1))


def values_around(
    value: Value, parameters: Sequence[Tensor], directions: Sequence[Sequence[Tensor]], grid: Sequence[float]
) -> list[tuple[float, float, float]]:
    """Compute the value at every point of a grid along two directions, as (a, b, value).

    Points where it is not finite are left out. The parameters end where they began.
    """
    with torch.no_grad():
        points = [(a, b, float(_evaluate_at(value, parameters, directions, (a, b)))) for a in grid for b in grid]
    return [point for point in points if math.isfinite(point[2])]


def ratios_around(
    value: Value, parameters: Sequence[Tensor], directions: Sequence[Sequence[Tensor]], grid: Sequence[float]
) -> list[tuple[float, float, float]]:
    """Compute |smallest/largest| eigenvalue of the Hessian at every point of a grid, as (a, b, ratio).

    Near 0 the landscape is convex there. Points where Lanczos does not converge are left out.
    """

    def eigenvalues() -> tuple[float, float] | None:
        return extreme_eigenvalues(value, parameters)

    points = []
    for a in grid:
        for b in grid:
            ends = _evaluate_at(eigenvalues, parameters, directions, (a, b))
            if ends is not None and ends[1] > 0.0:
                points.append((a, b, min(1.0, abs(min(ends[0], 0.0)) / ends[1])))
    return points


def extreme_eigenvalues(value: Value, parameters: Sequence[Tensor]) -> tuple[float, float] | None:
    """Compute the smallest and the largest eigenvalue of the Hessian, by Lanczos on Hessian-vector products.

    Returns None if the value has no Hessian, Lanczos does not converge, or an eigenvalue is not finite.
    """
    gradients = torch.autograd.grad(value(), list(parameters), create_graph=True, materialize_grads=True)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    if not flat.requires_grad:
        return None
    size = len(flat)

    def multiply(vector: np.ndarray) -> np.ndarray:
        factors = torch.from_numpy(np.asarray(vector, dtype=np.float32).reshape(-1))
        products = torch.autograd.grad(flat, list(parameters), factors, retain_graph=True, materialize_grads=True)
        return torch.cat([product.flatten() for product in products]).double().numpy()

    start = np.random.default_rng(0).normal(size=size)
    try:
        ends = eigsh(
            LinearOperator((size, size), matvec=multiply, dtype=np.float64),
            k=2,
            which="BE",  # both ends of the spectrum
            tol=TOLERANCE,
            v0=start,
            ncv=min(VECTORS, size),
            maxiter=RESTARTS,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence:
        return None
    low, high = float(min(ends)), float(max(ends))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _evaluate_at(
    function: Callable[[], T],
    parameters: Sequence[Tensor],
    directions: Sequence[Sequence[Tensor]],
    point: Sequence[float],
) -> T:
    """Call a function with the parameters moved along the directions to a point, and move them back."""
    before = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for factor, direction in zip(point, directions, strict=True):
            for parameter, step in zip(parameters, direction, strict=True):
                parameter.add_(factor * step)
    try:
        return function()
    finally:
        with torch.no_grad():
            for parameter, original in zip(parameters, before, strict=True):
                parameter.copy_(original)
