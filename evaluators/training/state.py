"""State: where the training of one candidate stands, so that it can go on elsewhere from there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class State:
    """Where a candidate stands under every seed after so many steps.

    ``weights`` hold one array [seeds, ...] for each parameter, those of the network first; ``velocities`` one for each
    tensor that the optimiser keeps of them; ``buffers`` what else goes on, such as running statistics.
    """

    step: int
    calibration: float
    weights: tuple[NDArray[np.float32], ...]
    velocities: tuple[NDArray[np.float32], ...]
    buffers: tuple[NDArray[np.float32], ...] = ()
    seconds: float = 0.0  #: that the training has taken, for each seed


def as_arrays(tensors: Sequence[Tensor]) -> tuple[NDArray[np.float32], ...]:
    """Copies of tensors, on the host."""
    return tuple(each.detach().to("cpu", copy=True).numpy() for each in tensors)


def as_tensors(arrays: Sequence[NDArray[np.float32]], device: torch.device | str = "cpu") -> list[Tensor]:
    """Copies of arrays, on the device; arrays that another process sent can only be read."""
    return [torch.tensor(each, device=device) for each in arrays]


def stacked(tensors_of_seeds: Sequence[Sequence[Tensor]]) -> tuple[NDArray[np.float32], ...]:
    """The tensors of each seed as arrays [seeds, ...], one for each parameter."""
    return as_arrays([torch.stack([each.detach() for each in like]) for like in zip(*tensors_of_seeds, strict=True)])
