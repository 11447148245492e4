"""Train candidates one at a time, under one seed after the other, through the interface of a cohort.

This serves networks and settings that have no batched form. The outcomes are those of a cohort.
"""

from copy import deepcopy
from typing import Any

from lossearch.evaluators.data.splits import Split
from lossearch.evaluators.training.attached_loss import loss_for
from lossearch.evaluators.training.calibration import AttachedLoss, calibration_factor
from lossearch.evaluators.training.outcome import Outcome, Outputs, TrainingFailed
from lossearch.evaluators.training.plan import TrainingPlan
from lossearch.evaluators.training.state import State, as_tensors, stack_seeds
from lossearch.evaluators.training.training import Training
from lossearch.primitives.modules.torch_loss import FormulaLoss


class OneByOne:
    """Trainer of a plan's candidates, one after the other.

    With ``keep_networks`` the trained networks stay in memory, so that they can be measured.
    """

    def __init__(self, plan: TrainingPlan, *, keep_networks: bool = False) -> None:
        self.plan = plan
        self._keeps_networks = keep_networks
        self._trainings: dict[tuple[int, int], Training] = {}  # by candidate and place of the seed
        self._factors: dict[int, float] = {}  # of the calibration, by candidate
        self._states: list[State | None] = [None] * len(plan.formulas)

    def estimate_bytes(self) -> int:
        """Return 0: the memory does not grow with the number of candidates."""
        return 0

    def train_and_score(self, until: int | None = None) -> list[Outcome]:
        """Calibrate, train and score each candidate up to step ``until``; None is the last step.

        A candidate's training ends with the first seed that fails.
        """
        stage = self.plan.fidelity.steps if until is None else until
        return [self._train_candidate(candidate, stage) for candidate in range(len(self.plan.formulas))]

    def states(self) -> list[State | None]:
        """Return each candidate's state after training; None for a candidate that failed."""
        return self._states

    def outputs(self, candidate: int, seed: int, split: Split) -> Outputs:
        """Compute the outputs of a candidate's network under a seed for a split. The candidate must not have failed."""
        training = self._trainings[candidate, seed]
        logits, embeddings = training.compute_outputs(split.inputs, "logits", "embeddings")
        return Outputs(logits.T.cpu(), embeddings.T.cpu())

    def attached_loss(self, candidate: int, seed: int) -> AttachedLoss:
        """Return the loss and the head of a candidate under a seed, on the CPU. The candidate must not have failed."""
        training = self._trainings[candidate, seed]
        loss: Any = deepcopy(training.loss).cpu()
        head = deepcopy(training.model.head).cpu()
        if hasattr(loss, "set_progress"):
            loss.set_progress(1.0)
        return AttachedLoss(loss, head, self._factors[candidate])

    def _train_candidate(self, candidate: int, stage: int) -> Outcome:
        plan, start = self.plan, self._start_of(candidate)
        fitness: list[float | None] = [None] * len(plan.seeds)
        reasons: list[str | None] = [None] * len(plan.seeds)
        trainings: list[Training] = []
        factor = None if start is None else start.calibration
        try:
            if factor is None:
                seed = plan.get_calibration_seed()
                factor = calibration_factor(self._build_loss(candidate), plan.task, plan.fidelity, seed)
            self._factors[candidate] = factor
            for place in range(len(plan.seeds)):
                training = self._build_training(candidate, place)
                training.run(stage)
                fitness[place] = training.score()
                trainings.append(training)
                if self._keeps_networks:
                    self._trainings[candidate, place] = training
        except TrainingFailed as failure:
            reasons[len(trainings)] = str(failure)
        if factor is not None and len(trainings) == len(plan.seeds):
            self._states[candidate] = State(
                stage,
                factor,
                stack_seeds([training.parameters for training in trainings]),
                stack_seeds([training.velocities() for training in trainings]),
                stack_seeds([training.buffers() for training in trainings]),
            )
        return Outcome.of_trainings(factor, fitness, reasons)

    def _build_training(self, candidate: int, place: int) -> Training:
        """Build a candidate's training under the seed in a place, at the first step of the plan."""
        plan, fidelity = self.plan, self.plan.fidelity
        if plan.learning_rates:
            fidelity = fidelity.model_copy(update={"learning_rate": plan.learning_rates[candidate]})
        loss, factor = self._build_loss(candidate), self._factors[candidate]
        training = Training(loss, plan.task, fidelity, plan.seeds[place], factor, plan.device)
        start = self._start_of(candidate)
        if start is not None:
            arrays = start.weights, start.velocities, start.buffers
            training.restore(start.step, *([tensor[place] for tensor in as_tensors(kind)] for kind in arrays))
        return training

    def _start_of(self, candidate: int) -> State | None:
        return self.plan.states[candidate] if self.plan.states else None

    def _build_loss(self, candidate: int) -> FormulaLoss:
        plan = self.plan
        return loss_for(plan.formulas[candidate], plan.task, plan.fidelity, plan.class_weights)
