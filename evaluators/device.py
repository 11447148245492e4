"""The device that trainings run on: a CUDA GPU where there is one, else the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from lossearch.primitives.errors import UserError

#: What an experiment may ask for.
DeviceChoice = Literal["auto", "cpu", "cuda"]


def chosen_device(choice: str) -> torch.device:
    """The device of a choice. Raises UserError where a GPU is asked for and none is there."""
    if choice == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "Expected a CUDA GPU, got none: torch sees no GPU here. Use device = 'auto' or 'cpu', or install a CUDA "
            "build of torch and a driver (see nvidia-smi)."
        )
    return torch.device("cuda" if choice == "cuda" or (choice == "auto" and torch.cuda.is_available()) else "cpu")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: small networks run no faster on more, and results stay equal."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
