"""The device that trainings run on: a CUDA GPU where there is one, else the CPU; and how much memory it has left."""

import os
from pathlib import Path
from typing import Literal

import torch

from primitives.errors import UserError

#: What an experiment may ask for.
DeviceChoice = Literal["auto", "cpu", "cuda"]

#: Share of the free memory that a cohort may plan with: the rest is for what cannot be foreseen.
USABLE = 0.7


def chosen_device(choice: str) -> torch.device:
    """The device of a choice. Raises UserError where a GPU is asked for and none is there."""
    if choice == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "Expected a CUDA GPU, got none: torch sees no GPU here. Use device = 'auto' or 'cpu', or install a CUDA "
            "build of torch and a driver (see nvidia-smi)."
        )
    return torch.device("cuda" if choice == "cuda" or (choice == "auto" and torch.cuda.is_available()) else "cpu")


def free_bytes(device: torch.device, sharers: int = 1) -> int:
    """Memory that a cohort may plan with, where so many processes share it."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(USABLE * (free + cached))
    return int(USABLE * min(_free_on_the_machine(), _free_in_the_control_group()) / sharers)


def _free_on_the_machine() -> int:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # not Linux: what there is at all


def _free_in_the_control_group() -> int:
    """What a container's limit leaves, counted without the file cache, which gives way."""
    folder = Path("/sys/fs/cgroup")
    limit, used = _lines(folder / "memory.max"), _lines(folder / "memory.current")
    if not limit or not used or limit[0] == "max":
        return 2**62
    cache = [int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.startswith("inactive_file ")]
    return int(limit[0]) - int(used[0]) + sum(cache)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
