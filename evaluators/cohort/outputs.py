"""Outputs of a trained cohort: what each member gives for a split, and its trained loss."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from lossearch.evaluators.cohort.cohort import Cohort
from lossearch.evaluators.data.splits import Split
from lossearch.evaluators.training.attached_loss import loss_for
from lossearch.evaluators.training.calibration import AttachedLoss
from lossearch.evaluators.training.outcome import Outputs


class CohortOutputs:
    """Outputs of a trained cohort. Those of all members for one split are computed together and kept."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        # Logits and embeddings by the identity of the split, which is kept with them so that no other takes its place.
        self._outputs: dict[int, tuple[Split, Tensor, Tensor]] = {}

    def outputs(self, candidate: int, seed: int, split: Split) -> Outputs:
        """Return the outputs of a candidate's network under a seed for a split. The candidate must not have failed."""
        cohort = self._cohort
        if id(split) not in self._outputs:
            embeddings = cohort.compute_outputs(split, "embeddings")
            self._outputs[id(split)] = split, cohort.compute_logits(embeddings).cpu(), embeddings.cpu()
        place = cohort.alive.index(candidate)
        _, logits, embeddings = self._outputs[id(split)]
        return Outputs(logits[seed, place], embeddings[seed, place])

    def attached_loss(self, candidate: int, seed: int) -> AttachedLoss:
        """Return the loss and the head of a candidate under a seed, on the CPU. The candidate must not have failed."""
        cohort, plan, place = self._cohort, self._cohort.plan, self._cohort.alive.index(candidate)
        loss = loss_for(plan.formulas[candidate], plan.task, plan.fidelity, plan.class_weights)
        loss.set_progress(1.0)
        head = skip_init(nn.Linear, plan.fidelity.hidden, plan.task.classes)
        tensors: list[Any] = [head.weight, head.bias]
        if plan.class_weights is not None:
            tensors = [loss.weight, getattr(loss, "centers", None)]
        with torch.no_grad():
            for tensor, trained in zip(tensors, cohort.members.heads.tensors, strict=True):
                if tensor is not None:
                    tensor.copy_(trained[seed, place])
        return AttachedLoss(loss, head, cohort.factors[candidate] or 0.0)
