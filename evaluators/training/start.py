"""Start of a training: initial weights, the order of the batches and the class frequencies.

Invariant: weights and batches depend on the seed alone and not on the loss. Candidates under one seed start alike and
see the same batches, so their scores can be compared in pairs. No global generator is used.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.evaluators.networks.layers import linear
from lossearch.evaluators.networks.registry import NETWORKS
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.primitives.modules.class_weights import ClassWeights


@dataclass
class Model:
    """A network, the linear head above its embeddings, and initial class centers [classes, size]."""

    backbone: nn.Module
    head: nn.Linear
    centers: Tensor


def build_model(task: Task, fidelity: TrainingSettings, seed: int) -> Model:
    """Build the network, head and centers that the seed starts with."""
    generator = torch.Generator().manual_seed(seed)
    backbone = NETWORKS[fidelity.network](task.shape, fidelity.hidden, generator)
    head = linear(fidelity.hidden, task.classes, generator)
    return Model(backbone, head, linear(fidelity.hidden, task.classes, generator).weight.detach())


def initial_class_weights(kind: str, model: Model, seed: int) -> Tensor:
    """Return the initial class weights of a kind.

    Learned ones start as the head's weights. PEDCC weights are fixed. Sub-centers, several for each class, are drawn
    from the seed.
    """
    classes, size = model.head.weight.shape
    if kind == "learned":
        return model.head.weight.detach()
    return ClassWeights(kind, classes, size).initial(torch.Generator().manual_seed(seed + 2))


@lru_cache(maxsize=16)
def draw_batches(num_samples: int, fidelity: TrainingSettings, seed: int) -> tuple[Tensor, ...]:
    """Draw the sample indices of each step's batch: every epoch in a new random order."""
    generator = torch.Generator().manual_seed(seed + 1)
    needed = fidelity.steps * fidelity.batch_size
    epochs = [torch.randperm(num_samples, generator=generator) for _ in range(math.ceil(needed / num_samples))]
    return torch.cat(epochs)[:needed].split(fidelity.batch_size)


@lru_cache(maxsize=16)  # every loss of a task asks for them
def class_frequencies(task: Task) -> Tensor:
    """Compute relative class frequencies [classes] in the task's training split, without targets that have no class.

    A class without samples counts as half a sample: losses divide by frequencies and take their logarithms.
    """
    targets = task.load().train.targets.flatten()
    counts = torch.bincount(targets[targets >= 0], minlength=task.classes)
    counts = torch.where(counts > 0, counts, 0.5)
    return counts / counts.sum()


def one_hot(targets: Tensor, classes: int) -> Tensor:
    """Return class indices [samples] as a target distribution [samples, classes]."""
    return F.one_hot(targets, classes).to(torch.float32)
