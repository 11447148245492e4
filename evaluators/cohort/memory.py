"""How much memory a cohort's training takes, estimated before anything of its size is allocated."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lossearch.evaluators.cohort.members import Members
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.optimizers import moments
from lossearch.evaluators.training.start import Model

#: Weights, their gradients, and sums of iterates, beside what the optimiser keeps.
COPIES = 3

#: For each activation its gradient, and for each value of the losses' program what a call takes for a while.
IN_FLIGHT = 2


def bytes_of_a_candidate(
    models: Sequence[Model], class_weights: str | None, task: Task, fidelity: TrainingSettings, seeds: Sequence[int]
) -> int:
    """What one candidate under every seed takes: its weights, and the activations that a step keeps.

    Measured on the CPU, on one candidate and one batch.
    """
    members = Members(models, class_weights, seeds, 1, torch.device("cpu"))
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    inputs = torch.zeros(len(seeds), fidelity.batch_size, *task.shape)
    tensors = [*members.network.parameters, *members.heads.tensors]
    looked_at = ("z",) if class_weights is None else ("cosine", "dist2")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        features = members.heads.features(members.network.embed(inputs), looked_at)
    for tensor in (inputs, *tensors):  # not activations
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    weights = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    activations = sum(kept.values()) + sum(feature.untyped_storage().nbytes() for feature in features.values())
    return (COPIES + moments(fidelity.optimizer)) * weights + IN_FLIGHT * activations


# --- Memory: how much of the device's a cohort may plan with.

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
