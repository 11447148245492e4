"""What the members of a trained cohort give: outputs for a split, and their losses, to measure everything by."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from lossearch.evaluators.cohort.cohort import Cohort
from lossearch.evaluators.data.splits import Split
from lossearch.evaluators.training.attached_loss import loss_for
from lossearch.evaluators.training.calibration import Attached
from lossearch.evaluators.training.outcome import Outputs


class CohortOutputs:
    """The outputs of a cohort that was trained; those of all members for one split are computed together."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self._seen: dict[int, tuple[Split, Tensor, Tensor]] = {}  # by identity of the split, which is kept with them

    def outputs(self, candidate: int, seed: int, split: Split) -> Outputs:
        """What the network of a candidate under a seed gives for a split; the candidate must not have failed."""
        cohort = self._cohort
        if id(split) not in self._seen:
            embeddings = cohort.seen(split, "embeddings")
            self._seen[id(split)] = split, cohort.logits(embeddings).cpu(), embeddings.cpu()
        place = cohort.alive.index(candidate)
        return Outputs(*(each[seed, place] for each in self._seen[id(split)][1:]))

    def attached(self, candidate: int, seed: int) -> Attached:
        """The loss and the head of a candidate under a seed, on the CPU; the candidate must not have failed."""
        cohort, place = self._cohort, self._cohort.alive.index(candidate)
        loss = loss_for(cohort.formulas[candidate], cohort.task, cohort.fidelity, cohort.class_weights)
        loss.set_progress(1.0)
        head = skip_init(nn.Linear, cohort.fidelity.hidden, cohort.task.classes)
        over_logits = cohort.class_weights is None
        mine: list[Any] = [head.weight, head.bias] if over_logits else [loss.weight, getattr(loss, "centers", None)]
        with torch.no_grad():
            for tensor, trained in zip(mine, cohort.members.heads.tensors, strict=True):
                if tensor is not None:
                    tensor.copy_(trained[seed, place])
        return Attached(loss, head, cohort.factors[candidate] or 0.0)
