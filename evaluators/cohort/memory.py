"""Memory of a cohort: estimate what its training needs before anything is allocated, and read what is free."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lossearch.evaluators.cohort.members import Members
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.optimizers import KEPT
from lossearch.evaluators.training.start import Model

#: Tensors as large as the weights, besides what the optimiser keeps: weights, gradients and sums of iterates.
COPIES = 3

#: Factor for values in flight: an activation has a gradient, and a loss's call needs memory besides its value.
IN_FLIGHT = 2

#: Share of the free memory that a cohort may plan with. The rest is for what cannot be foreseen.
USABLE = 0.7

#: Bytes that mean no limit, if no container limits the memory.
UNLIMITED = 2**62


def estimate_candidate_bytes(
    models: Sequence[Model], class_weights: str | None, task: Task, fidelity: TrainingSettings, seeds: Sequence[int]
) -> int:
    """Estimate what one candidate under every seed needs: its weights, and the activations that a step keeps.

    Measured on the CPU, with one candidate and one batch.
    """
    members = Members(models, class_weights, seeds, 1, torch.device("cpu"))
    kept: dict[int, int] = {}  # bytes by address

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    inputs = torch.zeros(len(seeds), fidelity.batch_size, *task.shape)
    tensors = [*members.network.parameters, *members.heads.tensors]
    names = ("z",) if class_weights is None else ("cosine", "dist2")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        features = members.heads.compute_features(members.network.embed(inputs), names)
    for tensor in (inputs, *tensors):  # autograd keeps them, but they are no activations
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    weights = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    activations = sum(kept.values()) + sum(feature.untyped_storage().nbytes() for feature in features.values())
    return (COPIES + len(KEPT[fidelity.optimizer])) * weights + IN_FLIGHT * activations


def free_bytes(device: torch.device, sharers: int = 1) -> int:
    """Return the memory that a cohort may plan with if ``sharers`` processes share the machine."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(USABLE * (free + cached))
    return int(USABLE * min(_read_free_on_machine(), read_free_in_control_group()) / sharers)


def _read_free_on_machine() -> int:
    for line in _read_lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # not Linux: all memory of the machine


def read_free_in_control_group(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory that a container's limit leaves, in version 1 or 2 of control groups.

    The file cache counts as free, because it gives way.
    """
    for directory, limit_name, used_name, cache_name in (
        (folder, "memory.max", "memory.current", "inactive_file "),
        (folder / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
    ):
        limit, used = _read_lines(directory / limit_name), _read_lines(directory / used_name)
        if limit and used and limit[0].isdigit() and used[0].isdigit():
            statistics = _read_lines(directory / "memory.stat")
            cache = [int(line.split()[1]) for line in statistics if line.startswith(cache_name)]
            return max(0, int(limit[0]) - int(used[0]) + sum(cache))
    return UNLIMITED


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
