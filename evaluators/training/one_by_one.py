"""Trains candidates one at a time, under one seed after the other, by the interface of a cohort.

For networks that have no batched form; the outcomes are those of a cohort.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch

from lossearch.evaluators.data.splits import Split
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.attached_loss import loss_for
from lossearch.evaluators.training.calibration import Attached, calibration_factor
from lossearch.evaluators.training.outcome import Outcome, Outputs, TrainingFailed, outcome
from lossearch.evaluators.training.state import State, as_tensors, stacked
from lossearch.evaluators.training.training import Training
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.modules.torch_loss import FormulaLoss


class OneByOne:
    """Candidates over logits, or over embeddings with class weights of one kind, under the same seeds."""

    def __init__(
        self,
        formulas: Sequence[Formula],
        class_weights: str | None,
        task: Task,
        fidelity: TrainingSettings,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
        states: Sequence[State] = (),
        learning_rates: Sequence[float] = (),
        calibrated_on: int | None = None,
    ) -> None:
        self.formulas, self.class_weights, self.task, self.fidelity = list(formulas), class_weights, task, fidelity
        self._seeds, self._device = list(seeds), torch.device(device)
        self._before: list[State | None] = list(states) or [None] * len(formulas)
        self._after: list[State | None] = [None] * len(formulas)
        self._rates = list(learning_rates) or [fidelity.learning_rate] * len(formulas)
        self._calibrated_on = self._seeds[0] if calibrated_on is None else calibrated_on
        self._factors: dict[int, float] = {}

    def bytes_needed(self) -> int:
        """Nothing that grows with the number of candidates."""
        return 0

    def train_and_score(self, until: int | None = None) -> list[Outcome]:
        """Calibrate, train and score each candidate, up to a stage or to the end; it stops at a seed that fails."""
        stage = self.fidelity.steps if until is None else until
        return [self._trained(candidate, stage) for candidate in range(len(self.formulas))]

    def states(self) -> list[State | None]:
        """Where each candidate's training stands; None for one that has failed."""
        return self._after

    def _trained(self, candidate: int, stage: int) -> Outcome:
        fitness: list[float | None] = [None] * len(self._seeds)
        reasons: list[str | None] = [None] * len(self._seeds)
        before, trainings = self._before[candidate], []
        try:
            self._factors[candidate] = self._factor(candidate)
            for place, seed in enumerate(self._seeds):
                training = self._training(candidate, place, seed)
                training.run(stage)
                fitness[place] = training.score()
                trainings.append(training)
                self._keep(candidate, place, training)
        except TrainingFailed as failure:
            reasons[len(trainings)] = str(failure)
        factor = self._factors.get(candidate) if before is None else before.calibration
        if factor is not None and len(trainings) == len(self._seeds):
            self._after[candidate] = State(
                stage,
                factor,
                stacked([training.parameters for training in trainings]),
                stacked([training.velocities() for training in trainings]),
                stacked([training.buffers() for training in trainings]),
            )
        return outcome(factor, fitness, reasons)

    def _factor(self, candidate: int) -> float:
        """One factor for all seeds: it is a property of the loss. Raises TrainingFailed."""
        before = self._before[candidate]
        if before is not None:
            return before.calibration
        return calibration_factor(self._loss(candidate), self.task, self.fidelity, self._calibrated_on)

    def _training(self, candidate: int, place: int, seed: int) -> Training:
        """A candidate's training under a seed, from where it stands on."""
        fidelity = self.fidelity.model_copy(update={"learning_rate": self._rates[candidate]})
        factor, before = self._factors[candidate], self._before[candidate]
        training = Training(self._loss(candidate), self.task, fidelity, seed, factor, self._device)
        if before is not None:
            arrays = before.weights, before.velocities, before.buffers
            training.go_on_from(before.step, *([each[place] for each in as_tensors(kind)] for kind in arrays))
        return training

    def _keep(self, candidate: int, place: int, training: Training) -> None:
        """Trained networks are not kept."""

    def _loss(self, candidate: int) -> FormulaLoss:
        return loss_for(self.formulas[candidate], self.task, self.fidelity, self.class_weights)


class Measurable(OneByOne):
    """Candidates whose trained networks are kept, to be measured."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._trainings: dict[tuple[int, int], Training] = {}  # by candidate and place of the seed

    def _keep(self, candidate: int, place: int, training: Training) -> None:
        self._trainings[candidate, place] = training

    def outputs(self, candidate: int, seed: int, split: Split) -> Outputs:
        """What the network of a candidate under a seed gives for a split; the candidate must not have failed."""
        training = self._trainings[candidate, seed]
        return Outputs(*(each.T.cpu() for each in training.seen(split.inputs, "logits", "embeddings")))

    def attached(self, candidate: int, seed: int) -> Attached:
        """The loss and the head of a candidate under a seed, on the CPU; the candidate must not have failed."""
        training, factor = self._trainings[candidate, seed], self._factors[candidate]
        loss: Any = deepcopy(training.loss).cpu()
        head = deepcopy(training.model.head).cpu()
        if hasattr(loss, "set_progress"):
            loss.set_progress(1.0)
        return Attached(loss, head, factor)
