"""Train a cohort: candidates that share network architecture, data order and optimiser, in one batched program.

Calibrate, train, score, as for one candidate. A member is a candidate under a seed. It ends with the weights that it
would have if it were trained alone, up to rounding: networks, losses and optimiser work member by member, and a value
that is not finite stays within its member. A candidate that has failed is recorded and dropped, and the others move up.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lossearch.evaluators.cohort.heads import Heads, build_heads
from lossearch.evaluators.cohort.members import Members
from lossearch.evaluators.cohort.memory import IN_FLIGHT, estimate_candidate_bytes
from lossearch.evaluators.cohort.networks import BATCHED
from lossearch.evaluators.cohort.replay import Replay
from lossearch.evaluators.data.splits import Split, as_numbers
from lossearch.evaluators.networks.registry import NETWORKS
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.calibration import is_usable, round_factor
from lossearch.evaluators.training.optimizers import KEPT
from lossearch.evaluators.training.outcome import NO_GRADIENT, NOT_FINITE, Outcome, describe_divergence
from lossearch.evaluators.training.plan import TrainingPlan
from lossearch.evaluators.training.schedule import Schedule, move_split
from lossearch.evaluators.training.start import build_model, class_frequencies
from lossearch.evaluators.training.state import State
from lossearch.evaluators.training.steps import report_steps
from lossearch.primitives.analysis.targets import scores
from lossearch.primitives.batched.joint_gradient import JointGradient
from lossearch.primitives.language.terminals import FEATURES
from lossearch.primitives.programs.lowering import lower_logits

#: Times that a training looks for failed candidates, and the share of the cohort from which they are dropped.
CHECKS, DROPPED_FROM = 8, 0.125


def find_batching_obstacle(task: Task, fidelity: TrainingSettings) -> str | None:
    """Return why candidates cannot be trained as a cohort, or None if network and training have a batched form."""
    network = NETWORKS[fidelity.network]
    if network not in BATCHED:
        return f"the network {fidelity.network} ({network.__name__}) has no batched form"
    fields = type(fidelity).model_fields
    obstacles = [
        name
        for name in ("class_weight_rate", "fine_tune_from", "amp")
        if getattr(fidelity, name) is not fields[name].default
    ]
    obstacles += ["schedule = 'plateau'"] if fidelity.schedule == "plateau" else []
    obstacles += ["ignored pixels"] if task.dense and task.ignores_pixels else []
    if not obstacles:
        return None
    return f"{' and '.join(obstacles)} {'have' if len(obstacles) > 1 else 'has'} no batched form"


class Cohort:
    """Trainer of all candidates of a plan at once, under all seeds.

    Network and training must have a batched form; see ``find_batching_obstacle``.
    """

    def __init__(self, plan: TrainingPlan) -> None:
        self.plan = plan
        self.alive = list(range(len(plan.formulas)))  #: candidates that are still trained, in the order of their places
        self.step = plan.start
        self.factors: list[float | None] = [state.calibration for state in plan.states]  #: of the calibration
        self._models = [build_model(plan.task, plan.fidelity, seed) for seed in plan.seeds]
        self._gradient = JointGradient(plan.formulas, plan.task.classes, plan.device)
        self._failed_at = [[0] * len(plan.formulas) for _ in plan.seeds]  # step of the failure, or 0
        self._targets_of_a_batch = plan.fidelity.batch_size * plan.task.load().train.targets_of_an_input
        self._shared = {
            "prior": class_frequencies(plan.task).reshape(1, -1, 1).to(plan.device),
            "num_classes": torch.full((1, 1, 1), float(plan.task.classes), device=plan.device),
            "progress": torch.zeros(1, 1, 1, device=plan.device),
        }

    def estimate_bytes(self) -> int:
        """Estimate the memory that the training needs."""
        plan = self.plan
        candidate = estimate_candidate_bytes(self._models, plan.class_weights, plan.task, plan.fidelity, plan.seeds)
        program = self._gradient.buffer_bytes(self._targets_of_a_batch, len(plan.seeds))
        return candidate * len(plan.formulas) + IN_FLIGHT * program

    def train_and_score(self, until: int | None = None) -> list[Outcome]:
        """Calibrate all candidates, train them under every seed up to step ``until`` and score them.

        None is the last step.
        """
        stage = self.plan.fidelity.steps if until is None else until
        self._start()
        self.train(stage)
        with self.members.averaged(stage - self.plan.fidelity.averaged_from(stage)):
            fitness = self.score(self.plan.task.load().validation)
        return list(self._build_outcomes(fitness))

    def states(self) -> list[State | None]:
        """Return each candidate's state after training; None for a candidate that failed."""
        states: list[State | None] = [None] * len(self.plan.formulas)
        for place, candidate in enumerate(self.alive):
            factor = self.factors[candidate]
            if factor is not None and not any(failed_at[candidate] for failed_at in self._failed_at):
                states[candidate] = self.members.state(place, self.step, factor)
        return states

    def calibrate(self) -> list[float | None]:
        """Return each candidate's calibration factor; None for one without a finite gradient.

        The factor makes the first gradient at the embedding as large as cross-entropy's. All candidates see the
        embeddings of one seed's first batch.
        """
        plan, seed, count = self.plan, self.plan.get_calibration_seed(), len(self.plan.formulas)
        model = build_model(plan.task, plan.fidelity, seed)
        batch = Schedule(plan.task, plan.fidelity, [seed], torch.device("cpu")).batch()
        inputs, targets = (tensor[0] for tensor in batch)
        with torch.no_grad():
            reference = model.backbone(inputs)
        embeddings = reference.T.to(plan.device).expand(1, count, -1, -1).clone().requires_grad_()
        self._gradient.prepare(len(targets), 1, [1.0] * count)
        heads = build_heads([model], plan.class_weights, [seed], count, plan.device)
        self._backpropagate(heads, embeddings, targets.unsqueeze(0).to(plan.device))
        if embeddings.grad is None:  # no loss depends on its features
            return [None] * count
        reference.requires_grad_()
        F.cross_entropy(model.head(reference), targets).backward()
        assert reference.grad is not None
        expected = float(reference.grad.norm())
        norms = embeddings.grad[0].flatten(1).norm(dim=1).tolist()
        return [round_factor(expected / norm) if is_usable(norm, expected) else None for norm in norms]

    def train(self, until: int) -> None:
        """Train all members up to step ``until``, in place."""
        fidelity = self.plan.fidelity
        averaged_from = fidelity.averaged_from(until)
        interval = max(1, fidelity.steps // CHECKS)
        while self.step < until and self.alive:
            if self.step == averaged_from:
                self.members.start_averaging()
                self._replay = Replay(self.plan.device)  # the step is another one from here on
            stops = (until, averaged_from, interval * (self.step // interval + 1))
            times = min(stop for stop in stops if stop > self.step) - self.step
            self._replay.repeat(self._take_step, times)
            self.step += times
            report_steps(times * len(self.alive) * len(self.plan.seeds))
            self._drop_failed()

    @torch.no_grad()
    def score(self, split: Split) -> Tensor:
        """Return the task's metric on a split for each member, [seeds, members]; -1 if its outputs are not finite."""
        if not self.alive:
            return torch.zeros(len(self.plan.seeds), 0)
        split, metric = move_split(split, self.plan.device), self.plan.task.metric
        outputs = self.compute_outputs(split, metric.looks_at)
        return torch.where(torch.isfinite(outputs).all(3).all(2), metric.score(outputs, split), -1.0)

    @torch.no_grad()
    def compute_outputs(self, split: Split, kind: str) -> Tensor:
        """Compute the "logits" or "embeddings" of a split, [seeds, members, classes or size, samples]."""
        size = 2 * self.plan.fidelity.batch_size  # their activations take no more room than those of a training step
        inputs = move_split(split, self.plan.device).inputs
        parts = (self._embed(part) for part in inputs.split(size))
        if kind == "logits" and self.plan.class_weights is None:  # logits take less room than embeddings
            return torch.cat([self.compute_logits(part) for part in parts], 3)
        embeddings = torch.cat(list(parts), 3)
        return self.compute_logits(embeddings) if kind == "logits" else embeddings

    @torch.no_grad()
    def compute_logits(self, embeddings: Tensor) -> Tensor:
        """Compute logits [seeds, members, classes, samples] of embeddings [seeds, members, size, samples]."""
        if self.plan.class_weights is None:
            return self.members.heads.compute_features(embeddings, ("z",))["z"]
        return torch.stack([self._compute_member_logits(embeddings, place) for place in range(len(self.alive))], 1)

    def _start(self) -> None:
        """Put the members, and everything that a step reads, on the device."""
        plan, count = self.plan, len(self.plan.formulas)
        self.factors = self.factors or (self.calibrate() if plan.fidelity.calibrated else [1.0] * count)
        num_kept = len(KEPT[plan.fidelity.optimizer])
        self.members = Members(self._models, plan.class_weights, plan.seeds, count, plan.device, num_kept)
        self.members.scale_rates([rate / plan.fidelity.learning_rate for rate in plan.learning_rates])
        self._schedule = Schedule(plan.task, plan.fidelity, plan.seeds, plan.device)
        if plan.states:
            self.members.restore(plan.states)
            self._schedule.position.fill_(self.step)
        self._keep([place for place, factor in enumerate(self.factors) if factor is not None])

    def _keep(self, places: Sequence[int]) -> None:
        """Keep only the members in these places, and prepare the losses' program for them."""
        plan = self.plan
        if len(places) < len(self.alive):
            self.members.keep(places)
            self.alive = [self.alive[place] for place in places]
            formulas = [plan.formulas[candidate] for candidate in self.alive]
            self._gradient = JointGradient(formulas, plan.task.classes, plan.device)
        factors = [self.factors[candidate] or 0.0 for candidate in self.alive]
        self._gradient.prepare(self._targets_of_a_batch, len(plan.seeds), factors)
        self._failures = torch.zeros(len(plan.seeds), len(places), dtype=torch.int64, device=plan.device)
        self._replay = Replay(plan.device)

    def _take_step(self) -> None:
        """Take one step of every member, on the device alone."""
        inputs, targets = self._schedule.batch()
        self._shared["progress"].copy_(self._schedule.progress.view(1, 1, 1))
        finite = self._backpropagate(self.members.heads, self.members.network.embed(inputs), targets)
        step = self._schedule.position + 1
        self._failures.copy_(torch.where((self._failures == 0) & ~finite, step, self._failures))
        self.members.descend(self._schedule.rate, self._schedule.position, self.plan.fidelity)
        self._schedule.advance()

    def _backpropagate(self, heads: Heads, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Backpropagate the gradients of all losses, and return which members' are finite, [seeds, members]."""
        features = heads.compute_features(embeddings, [name for name in FEATURES if self._gradient.used[name]])
        shared = self._shared | {"index": targets.reshape(1, 1, -1)}
        if "y" in self._gradient.shared:
            shared["y"] = F.one_hot(targets.flatten(), self.plan.task.classes).T.unsqueeze(0).to(torch.float32)
        # The losses' program wants [members, classes, seeds, batch].
        given = {name: feature.transpose(0, 1).transpose(1, 2) for name, feature in features.items()}
        gradients = {name: g.transpose(1, 2).transpose(0, 1) for name, g in self._gradient.run(given, shared).items()}
        names = [name for name in gradients if features[name].requires_grad]
        torch.autograd.backward([features[name] for name in names], [gradients[name] for name in names])
        finite = torch.ones(embeddings.shape[:2], dtype=torch.bool, device=self.plan.device)
        for gradient in gradients.values():
            finite &= torch.isfinite(gradient.sum((2, 3)))
        return finite

    def _drop_failed(self) -> None:
        """Record which members have failed, and drop failed candidates once there are enough of them.

        A candidate's evaluations end with the first seed that failed. One that failed under the first seed is dropped.
        """
        failures = self._failures.tolist()
        for recorded, of_seed in zip(self._failed_at, failures, strict=True):
            for candidate, step in zip(self.alive, of_seed, strict=True):
                recorded[candidate] = recorded[candidate] or step
        kept = [place for place, candidate in enumerate(self.alive) if not self._failed_at[0][candidate]]
        if len(self.alive) - len(kept) >= max(1.0, DROPPED_FROM * len(self.alive)):
            self._keep(kept)

    def _embed(self, inputs: Tensor) -> Tensor:
        inputs = as_numbers(inputs)
        return self.members.network.embed(inputs.expand(len(self.plan.seeds), *inputs.shape))

    def _compute_member_logits(self, embeddings: Tensor, place: int) -> Tensor:
        """Compute the logits of a member over embeddings, [seeds, classes, samples], by its own formula."""
        program = lower_logits(scores(self.plan.formulas[self.alive[place]]))
        inputs = self.members.heads.program_inputs(embeddings, place)
        logits = []
        for seed in range(len(self.plan.seeds)):
            of_seed = {name: tensor[seed] for name, tensor in inputs.items()}
            samples = of_seed["embeddings"]
            of_seed["y"] = samples.new_zeros(len(samples), self.plan.task.classes)
            of_seed |= {name: tensor[0, 0, 0] for name, tensor in self._shared.items()}
            of_seed["prior"] = self._shared["prior"][:, :, 0]
            logits.append(program.run(of_seed).T)
        return torch.stack(logits)

    def _build_outcomes(self, fitness: Tensor) -> Iterator[Outcome]:
        """Yield the outcome of each candidate; ``fitness`` [seeds, members] is of those that are alive."""
        scored = dict(zip(self.alive, fitness.T.tolist(), strict=True))
        for candidate, factor in enumerate(self.factors):
            values = scored.get(candidate, [-1.0] * len(self.plan.seeds))
            reasons = [
                self._find_reason(factor, failed_at[candidate], value)
                for failed_at, value in zip(self._failed_at, values, strict=True)
            ]
            yield Outcome.of_trainings(factor, values, reasons)

    def _find_reason(self, factor: float | None, failed_at: int, fitness: float) -> str | None:
        """Return why a member failed, or None if it did not."""
        if factor is None:
            return NO_GRADIENT
        if failed_at:
            return describe_divergence(failed_at, self.plan.fidelity.steps, "gradient")
        return NOT_FINITE if fitness < 0.0 else None
