"""Trains a cohort: candidates that share network architecture, data order and optimiser, all in one batched program.

Data, model, train, score, as for one candidate. A member, a candidate under a seed, ends with the weights that it
would have if it were trained alone, up to rounding: networks, losses and optimiser work member by member, and what is
not finite stays where it is.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluators.cohort_heads import ClassWeightHeads, Heads, LinearHeads
from evaluators.cohort_networks import BATCHED, BatchedNetwork
from evaluators.fidelity import Fidelity
from evaluators.outcome import Outcome
from evaluators.tasks.task import Task
from evaluators.training import Model, batches, class_frequencies, initial_class_weights, initial_model
from primitives.formula import Formula
from primitives.joint_gradient import JointGradient
from primitives.joint_program import FEATURES
from primitives.lowering import lower_logits
from primitives.scores import scores


def batched(task: Task, fidelity: Fidelity) -> bool:
    """Whether the task's network has a batched form, so that cohorts can be trained on it."""
    return type(initial_model(task, fidelity, 0).backbone) in BATCHED


class Cohort:
    """Candidates over logits, or over embeddings with class weights of one kind, under the same seeds.

    ``class_weights`` is None for losses over logits. The task's network must have a batched form.
    """

    def __init__(
        self,
        formulas: Sequence[Formula],
        class_weights: str | None,
        task: Task,
        fidelity: Fidelity,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.formulas, self.class_weights, self.task, self.fidelity = list(formulas), class_weights, task, fidelity
        self._seeds, self._device = list(seeds), torch.device(device)
        self._models = [initial_model(task, fidelity, seed) for seed in seeds]
        self._batches = [batches(len(task.load().train), fidelity, seed) for seed in seeds]
        self._gradient = JointGradient(formulas, task.classes, self._device)
        self._wanted = [name for name in FEATURES if self._gradient.used[name]]
        self._shared = {
            "prior": class_frequencies(task).reshape(1, -1, 1).to(self._device),
            "num_classes": torch.full((1, 1, 1), float(task.classes), device=self._device),
            "progress": torch.zeros(1, 1, 1, device=self._device),
        }
        self.network: BatchedNetwork | None = None  #: once trained
        self.heads: Heads | None = None

    def train_and_score(self) -> list[Outcome]:
        """Calibrate every candidate, train it under every seed, and score it."""
        factors = self.calibrations()
        self.network = BATCHED[type(self._models[0].backbone)](
            [model.backbone for model in self._models], len(self.formulas), self._device
        )
        self.heads = self._heads(self._models, self._seeds)
        failed_at = self.train(self.network, self.heads, [factor or 0.0 for factor in factors])
        correct = self.score(self.network, self.heads)
        return [
            self._outcome(factor, failed_at[:, candidate].tolist(), correct[:, candidate].tolist())
            for candidate, factor in enumerate(factors)
        ]

    def calibrations(self) -> list[float | None]:
        """For each candidate, the factor that makes its first gradient at the embedding as large as cross-entropy's.

        All candidates see the embeddings of the first seed's first batch; None where there is no finite gradient.
        """
        model, batch = self._models[0], self._batches[0][0]
        train = self.task.load().train
        with torch.no_grad():
            seen = model.backbone(train.inputs[batch])
        embeddings = seen.T.to(self._device).expand(1, len(self.formulas), -1, -1).clone().requires_grad_()
        self._gradient.prepare(len(batch), 1, [1.0] * len(self.formulas))
        heads = self._heads(self._models[:1], self._seeds[:1])
        self._backward(heads.features(embeddings, self._wanted), train.targets[batch].unsqueeze(0).to(self._device))
        seen.requires_grad_()
        F.cross_entropy(model.head(seen), train.targets[batch]).backward()
        assert seen.grad is not None
        expected = float(seen.grad.norm())
        found = [] if embeddings.grad is None else embeddings.grad[0].flatten(1).norm(dim=1).tolist()
        usable = [math.isfinite(size) and size >= 1e-12 * expected for size in found]
        return [
            float(f"{expected / size:.6g}") if fits else None for size, fits in zip(found, usable, strict=True)
        ] or [None] * len(self.formulas)

    def train(self, network: BatchedNetwork, heads: Heads, factors: Sequence[float]) -> Tensor:
        """Gradient descent, in place; returns the step at which each member stopped being finite, else 0."""
        fidelity, split = self.fidelity, self.task.load().train
        inputs, targets = split.inputs.to(self._device), split.targets.to(self._device)
        self._gradient.prepare(fidelity.batch_size, len(self._seeds), factors)
        parameters = [*network.parameters, *heads.parameters]
        velocities = [torch.zeros_like(each) for each in parameters]
        failed_at = torch.zeros(len(self._seeds), len(self.formulas), dtype=torch.int64, device=self._device)
        order = torch.stack([torch.stack(batches_of_seed) for batches_of_seed in self._batches], 1).to(self._device)
        for step, batch in enumerate(order):
            self._shared["progress"].fill_(step / fidelity.steps)
            features = heads.features(network.embed(inputs[batch]), self._wanted)
            finite = self._backward(features, targets[batch])
            failed_at = torch.where((failed_at == 0) & ~finite, step + 1, failed_at)
            rate = fidelity.learning_rate * (1.0 + math.cos(math.pi * step / fidelity.steps)) / 2.0
            descend(parameters, velocities, rate, fidelity)
        return failed_at

    @torch.no_grad()
    def score(self, network: BatchedNetwork, heads: Heads) -> Tensor:
        """Validation samples that each member [seeds, candidates] classifies correctly; -1 where it is not finite."""
        validation = self.task.load().validation
        inputs, targets = validation.inputs.to(self._device), validation.targets.to(self._device)
        embeddings = network.embed(inputs.expand(len(self._seeds), *inputs.shape))
        if self.class_weights is None:
            logits = heads.features(embeddings, ("z",))["z"]
        else:
            logits = torch.stack([self._scores(heads, embeddings, k) for k in range(len(self.formulas))], 1)
        correct = (logits.argmax(2) == targets).sum(2)
        return torch.where(torch.isfinite(logits).all(3).all(2), correct, -1)

    def _scores(self, heads: Heads, embeddings: Tensor, candidate: int) -> Tensor:
        """What a candidate over embeddings classifies by, [seeds, classes, samples]."""
        program = lower_logits(scores(self.formulas[candidate]))
        inputs = heads.inputs(embeddings, candidate)
        found = []
        for seed in range(len(self._seeds)):
            of_seed = {name: each[seed] for name, each in inputs.items()}
            like = of_seed["embeddings"]
            of_seed["y"] = like.new_zeros(len(like), self.task.classes)
            of_seed |= {name: each[0, 0, 0] for name, each in self._shared.items()}
            of_seed["prior"] = self._shared["prior"][:, :, 0]
            found.append(program.run(of_seed).T)
        return torch.stack(found)

    def _backward(self, features: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Backpropagate the losses' gradients from the features; returns which members' are finite."""
        shared = self._shared | {"index": targets.reshape(1, 1, -1)}
        if "y" in self._gradient.shared:
            shared["y"] = F.one_hot(targets.flatten(), self.task.classes).T.unsqueeze(0).to(torch.float32)
        given = {name: feature.transpose(0, 1).transpose(1, 2) for name, feature in features.items()}
        gradients = {name: g.transpose(1, 2).transpose(0, 1) for name, g in self._gradient.run(given, shared).items()}
        moved = [name for name in gradients if features[name].requires_grad]
        torch.autograd.backward([features[name] for name in moved], [gradients[name] for name in moved])
        finite = torch.ones(targets.shape[0], len(self.formulas), dtype=torch.bool, device=self._device)
        for gradient in gradients.values():
            finite &= torch.isfinite(gradient.sum((2, 3)))
        return finite

    def _heads(self, models: Sequence[Model], seeds: Sequence[int]) -> Heads:
        if self.class_weights is None:
            return LinearHeads([model.head for model in models], len(self.formulas), self._device)
        weights = [
            initial_class_weights(self.class_weights, model, seed) for model, seed in zip(models, seeds, strict=True)
        ]
        centers = [model.centers for model in models]
        learned = self.class_weights != "pedcc"
        return ClassWeightHeads(weights, centers, len(self.formulas), self._device, learned=learned)

    def _outcome(self, factor: float | None, failed_at: list[int], correct: list[int]) -> Outcome:
        samples, fitness, reasons = len(self.task.load().validation), [], []
        for step, count in zip(failed_at, correct, strict=True):
            reason = None
            if factor is None:
                reason = "the first gradient at the embedding is 0 or not finite"
            elif step:
                reason = f"diverged at step {step} of {self.fidelity.steps}: the gradient is not finite"
            elif count < 0:
                reason = "diverged: the trained network's outputs are not finite"
            reasons.append(reason)
            fitness.append(None if reason else count / samples)
        return Outcome(factor, fitness, reasons)


@torch.no_grad()
def descend(parameters: Sequence[Tensor], velocities: Sequence[Tensor], rate: float, fidelity: Fidelity) -> None:
    """One step of gradient descent with momentum, as torch.optim.SGD does it, and no gradients left."""
    for parameter, velocity in zip(parameters, velocities, strict=True):
        gradient = parameter.grad
        if gradient is None:
            continue
        if fidelity.weight_decay:
            gradient.add_(parameter, alpha=fidelity.weight_decay)
        velocity.mul_(fidelity.momentum).add_(gradient)
        parameter.sub_(velocity, alpha=rate)
        parameter.grad = None
