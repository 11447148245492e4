"""The landscape of a loss around trained weights: its value, and the extreme eigenvalues of its Hessian.

Directions are random, and each filter of theirs is as long as the network's own (Li et al., "Visualizing the loss
landscape of neural nets", NeurIPS 2018), so that networks with weights of other sizes can be compared.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

#: Accuracy of eigenvalues, relative; vectors that Lanczos keeps, and how often it may start again from the best.
TOLERANCE, VECTORS, RESTARTS = 0.1, 12, 4

T = TypeVar("T")

#: The value of the loss at the parameters as they stand.
Value = Callable[[], Tensor]


def directions(parameters: Sequence[Tensor], generator: torch.Generator, count: int = 2) -> list[list[Tensor]]:
    """Random directions for parameters, filter by filter as long as these; biases and scales do not move."""
    return [[_of_one(each, generator) for each in parameters] for _ in range(count)]


def _of_one(parameter: Tensor, generator: torch.Generator) -> Tensor:
    if parameter.ndim < 2:
        return torch.zeros_like(parameter)
    drawn = torch.randn(parameter.shape, generator=generator)
    length = drawn.flatten(1).norm(dim=1).clamp_min(1e-12)
    own = parameter.detach().flatten(1).norm(dim=1)
    return drawn * (own / length).view(-1, *[1] * (parameter.ndim - 1))


def values_around(
    value: Value, parameters: Sequence[Tensor], along: Sequence[Sequence[Tensor]], grid: Sequence[float]
) -> list[tuple[float, float, float]]:
    """The value at every point of a grid along two directions, (a, b, value); parameters end where they began.

    A point where it is not finite is left out.
    """
    with torch.no_grad():
        found = [(a, b, float(_at(value, parameters, along, (a, b)))) for a in grid for b in grid]
    return [each for each in found if math.isfinite(each[2])]


def ratios_around(
    value: Value, parameters: Sequence[Tensor], along: Sequence[Sequence[Tensor]], grid: Sequence[float]
) -> list[tuple[float, float, float]]:
    """|smallest/largest| eigenvalue of the Hessian at every point of a grid: near 0 the landscape is convex there.

    A point where Lanczos does not converge is left out.
    """
    found = []
    for a in grid:
        for b in grid:
            ends = _at(lambda: extreme_eigenvalues(value, parameters), parameters, along, (a, b))
            if ends is not None and ends[1] > 0.0:
                found.append((a, b, min(1.0, abs(min(ends[0], 0.0)) / ends[1])))
    return found


def extreme_eigenvalues(value: Value, parameters: Sequence[Tensor]) -> tuple[float, float] | None:
    """The smallest and the largest eigenvalue of the Hessian, by Lanczos on products with it; None without them."""
    gradients = torch.autograd.grad(value(), list(parameters), create_graph=True, materialize_grads=True)
    flat = torch.cat([each.flatten() for each in gradients])
    if not flat.requires_grad:
        return None
    size = len(flat)

    def product(vector: np.ndarray) -> np.ndarray:
        times = torch.from_numpy(np.asarray(vector, dtype=np.float32).reshape(-1))
        found = torch.autograd.grad(flat, list(parameters), times, retain_graph=True, materialize_grads=True)
        return torch.cat([each.flatten() for each in found]).double().numpy()

    start = np.random.default_rng(0).normal(size=size)
    try:
        ends = eigsh(
            LinearOperator((size, size), matvec=product, dtype=np.float64),
            k=2,
            which="BE",
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


def _at(
    found: Callable[[], T], parameters: Sequence[Tensor], along: Sequence[Sequence[Tensor]], place: Sequence[float]
) -> T:
    """What is found where parameters are moved along directions; they are put back."""
    before = [each.detach().clone() for each in parameters]
    with torch.no_grad():
        for factor, direction in zip(place, along, strict=True):
            for parameter, step in zip(parameters, direction, strict=True):
                parameter.add_(factor * step)
    try:
        return found()
    finally:
        with torch.no_grad():
            for parameter, kept in zip(parameters, before, strict=True):
                parameter.copy_(kept)
