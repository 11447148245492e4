"""Memory: how much of the device's a cohort may plan with."""

import os
from pathlib import Path

import torch

#: Where no container limits the memory.
UNLIMITED = 2**62

#: Share of the free memory that a cohort may plan with: the rest is for what cannot be foreseen.
USABLE = 0.7


def free_bytes(device: torch.device, sharers: int = 1) -> int:
    """Memory that a cohort may plan with, where so many processes share it."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(USABLE * (free + cached))
    return int(USABLE * min(_free_on_the_machine(), free_in_the_control_group()) / sharers)


def _free_on_the_machine() -> int:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # not Linux: what there is at all


def free_in_the_control_group(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """What a container's limit leaves, of either version; counted without the file cache, which gives way."""
    for where, limit_name, used_name, cache_name in (
        (folder, "memory.max", "memory.current", "inactive_file "),
        (folder / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
    ):
        limit, used = _lines(where / limit_name), _lines(where / used_name)
        if limit and used and limit[0].isdigit() and used[0].isdigit():
            cache = [int(line.split()[1]) for line in _lines(where / "memory.stat") if line.startswith(cache_name)]
            return max(0, int(limit[0]) - int(used[0]) + sum(cache))
    return UNLIMITED


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
