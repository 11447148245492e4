"""Training plan: the losses to train with, on which task, under which seeds, and from which states on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.state import State
from lossearch.primitives.language.formula import Formula

CPU = torch.device("cpu")


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that a trainer needs: the candidates' formulas, and the training that they have in common.

    All formulas take logits, or all take embeddings with class weights of one kind. Candidates are identified by
    their place in ``formulas``. All states belong to one step.
    """

    formulas: Sequence[Formula]
    class_weights: str | None  #: kind of the class weights of losses over embeddings; None for losses over logits
    task: Task
    fidelity: TrainingSettings
    seeds: Sequence[int]
    device: torch.device = CPU
    states: Sequence[State] = ()  #: one for each candidate to continue from; none to start anew
    learning_rates: Sequence[float] = ()  #: one for each candidate, in place of the fidelity's
    calibration_seed: int | None = None  #: seed to calibrate on; None takes the first of ``seeds``

    @property
    def start(self) -> int:
        """Step that the training starts at."""
        return self.states[0].step if self.states else 0

    def get_calibration_seed(self) -> int:
        """Return the one seed to calibrate on: the factor is a property of the loss, the same for all seeds."""
        return self.seeds[0] if self.calibration_seed is None else self.calibration_seed
