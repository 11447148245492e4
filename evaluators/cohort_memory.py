"""How much memory a cohort's training takes, estimated before anything of its size is allocated."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lossearch.evaluators.cohort_members import Members
from lossearch.evaluators.descent import moments
from lossearch.evaluators.fidelity import Fidelity
from lossearch.evaluators.start import Model
from lossearch.evaluators.tasks.task import Task

#: Weights, their gradients, and sums of iterates, beside what the optimiser keeps.
COPIES = 3

#: For each activation its gradient, and for each value of the losses' program what a call takes for a while.
IN_FLIGHT = 2


def bytes_of_a_candidate(
    models: Sequence[Model], class_weights: str | None, task: Task, fidelity: Fidelity, seeds: Sequence[int]
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
