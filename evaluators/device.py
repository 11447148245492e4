"""Device that trainings run on: a CUDA GPU if there is one, else the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from lossearch.primitives.errors import UserError

if TYPE_CHECKING:
    import torch

#: Devices that an experiment may ask for.
DeviceChoice = Literal["auto", "cpu", "cuda"]


def choose_device(choice: str) -> torch.device:
    """Return the device for a choice. Raises UserError if the choice is "cuda" and torch sees no GPU."""
    import torch

    if choice == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "Expected a CUDA GPU, got none: torch sees no GPU here. Use device = 'auto' or 'cpu', or install a CUDA "
            "build of torch and a driver (see nvidia-smi)."
        )
    return torch.device("cuda" if choice == "cuda" or (choice == "auto" and torch.cuda.is_available()) else "cpu")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: small networks run no faster on more, and results stay equal."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
