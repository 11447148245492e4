"""State: a stopped training of one candidate as plain arrays, so that any process can continue it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class State:
    """A candidate's training under every seed, stopped after ``step`` steps.

    ``weights`` holds one array [seeds, ...] for each parameter, those of the network first. ``velocities`` holds one
    array for each tensor that the optimiser keeps. ``buffers`` holds what else changes, such as running statistics.
    """

    step: int
    calibration: float
    weights: tuple[NDArray[np.float32], ...]
    velocities: tuple[NDArray[np.float32], ...]
    buffers: tuple[NDArray[np.float32], ...] = ()
    seconds: float = 0.0  #: training time up to here, for each seed


def as_arrays(tensors: Sequence[Tensor]) -> tuple[NDArray[np.float32], ...]:
    """Copy tensors to arrays on the host."""
    return tuple(tensor.detach().to("cpu", copy=True).numpy() for tensor in tensors)


def as_tensors(arrays: Sequence[NDArray[np.float32]], device: torch.device | str = "cpu") -> list[Tensor]:
    """Copy arrays to tensors on the device. Arrays from another process are read-only, so they are never shared."""
    return [torch.tensor(array, device=device) for array in arrays]


def stack_seeds(tensors_of_seeds: Sequence[Sequence[Tensor]]) -> tuple[NDArray[np.float32], ...]:
    """Stack the tensors of each seed into arrays [seeds, ...], one for each parameter."""
    return as_arrays(
        [torch.stack([tensor.detach() for tensor in tensors]) for tensors in zip(*tensors_of_seeds, strict=True)]
    )
