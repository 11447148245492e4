"""Trains a cohort: candidates that share network architecture, data order and optimiser, all in one batched program.

Data, model, train, score, as for one candidate. A member, a candidate under a seed, ends with the weights that it
would have if it were trained alone, up to rounding: networks, losses and optimiser work member by member, and what is
not finite stays where it is. A candidate without hope is recorded and dropped, and the others close ranks.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lossearch.evaluators.cohort.heads import Heads, heads_of
from lossearch.evaluators.cohort.members import Members
from lossearch.evaluators.cohort.memory import IN_FLIGHT, bytes_of_a_candidate
from lossearch.evaluators.cohort.networks import BATCHED
from lossearch.evaluators.cohort.replay import Replay
from lossearch.evaluators.data.splits import Split, as_numbers
from lossearch.evaluators.networks import NETWORKS
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.optimizers import moments
from lossearch.evaluators.training.outcome import NO_GRADIENT, NOT_FINITE, Outcome, diverged, outcome
from lossearch.evaluators.training.schedule import Schedule, resident
from lossearch.evaluators.training.start import class_frequencies, initial_model
from lossearch.evaluators.training.state import State
from lossearch.primitives.analysis.targets import scores
from lossearch.primitives.batched.joint_gradient import JointGradient
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.terminals import FEATURES
from lossearch.primitives.programs.lowering import lower_logits

#: How often a training looks for candidates without hope, and the share of them from which they are dropped.
CHECKS, DROPPED_FROM = 8, 0.125


def unbatched(task: Task, fidelity: TrainingSettings) -> str | None:
    """Why candidates cannot be trained as a cohort, or None where network and training have a batched form."""
    network = NETWORKS[fidelity.network]
    if network not in BATCHED:
        return f"the network {fidelity.network} ({network.__name__}) has no batched form"
    own = ("class_weight_rate", "fine_tune_from", "amp")
    wanted = [name for name in own if getattr(fidelity, name) is not type(fidelity).model_fields[name].default]
    wanted += ["schedule = 'plateau'"] if fidelity.schedule == "plateau" else []
    wanted += ["ignored pixels"] if task.dense and task.ignores_pixels else []
    return f"{' and '.join(wanted)} {'have' if len(wanted) > 1 else 'has'} no batched form" if wanted else None


class Cohort:
    """Candidates over logits, or over embeddings with class weights of one kind, under the same seeds.

    ``class_weights`` is None for losses over logits. The task's network must have a batched form. With ``states``,
    one for each candidate and all at one step, the training goes on from there. ``learning_rates``, one for each
    candidate, stand in for the fidelity's. Losses are calibrated on the seed ``calibrated_on``, the first where none is
    given: the factor is a property of the loss, the same for all seeds.
    """

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
        self.alive = list(range(len(formulas)))  #: the candidates that are trained, in the order of their places
        self.step = states[0].step if states else 0
        self._seeds, self._device, self._states = list(seeds), torch.device(device), list(states)
        self._calibrated_on = self._seeds[0] if calibrated_on is None else calibrated_on
        self._paces = [rate / fidelity.learning_rate for rate in learning_rates]
        self._models = [initial_model(task, fidelity, seed) for seed in seeds]
        self._gradient = JointGradient(formulas, task.classes, self._device)
        self.factors: list[float | None] = [state.calibration for state in states]  #: of the calibration
        self._failed_at = [[0] * len(formulas) for _ in seeds]  # step, or 0
        self._targets_of_a_batch = fidelity.batch_size * task.load().train.targets_of_an_input
        self._shared = {
            "prior": class_frequencies(task).reshape(1, -1, 1).to(self._device),
            "num_classes": torch.full((1, 1, 1), float(task.classes), device=self._device),
            "progress": torch.zeros(1, 1, 1, device=self._device),
        }

    def bytes_needed(self) -> int:
        """How much memory the training takes, estimated."""
        each = bytes_of_a_candidate(self._models, self.class_weights, self.task, self.fidelity, self._seeds)
        program = self._gradient.buffer_bytes(self._targets_of_a_batch, len(self._seeds))
        return each * len(self.formulas) + IN_FLIGHT * program

    def train_and_score(self, until: int | None = None) -> list[Outcome]:
        """Calibrate every candidate, train it under every seed up to a stage, or to the end, and score it."""
        stage = self.fidelity.steps if until is None else until
        self._start()
        self.train(stage)
        with self.members.averaged(stage - self.fidelity.averaged_from(stage)):
            fitness = self.score(self.task.load().validation)
        return list(self._outcomes(fitness))

    def states(self) -> list[State | None]:
        """Where each candidate's training stands; None for one that has failed."""
        found: list[State | None] = [None] * len(self.formulas)
        for place, candidate in enumerate(self.alive):
            factor = self.factors[candidate]
            if factor is not None and not any(of_seed[candidate] for of_seed in self._failed_at):
                found[candidate] = self.members.state(place, self.step, factor)
        return found

    def calibrations(self) -> list[float | None]:
        """For each candidate, the factor that makes its first gradient at the embedding as large as cross-entropy's.

        All candidates see the embeddings of one seed's first batch; None where there is no finite gradient.
        """
        model, first = initial_model(self.task, self.fidelity, self._calibrated_on), [self._calibrated_on]
        inputs, targets = (each[0] for each in Schedule(self.task, self.fidelity, first, torch.device("cpu")).batch())
        with torch.no_grad():
            seen = model.backbone(inputs)
        embeddings = seen.T.to(self._device).expand(1, len(self.formulas), -1, -1).clone().requires_grad_()
        self._gradient.prepare(len(targets), 1, [1.0] * len(self.formulas))
        heads = heads_of([model], self.class_weights, first, len(self.formulas), self._device)
        self._backward(heads, embeddings, targets.unsqueeze(0).to(self._device))
        seen.requires_grad_()
        F.cross_entropy(model.head(seen), targets).backward()
        assert seen.grad is not None
        expected = float(seen.grad.norm())
        found = [] if embeddings.grad is None else embeddings.grad[0].flatten(1).norm(dim=1).tolist()
        usable = [math.isfinite(size) and size >= 1e-12 * expected for size in found]
        return [
            float(f"{expected / size:.6g}") if fits else None for size, fits in zip(found, usable, strict=True)
        ] or [None] * len(self.formulas)

    # --- training ------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Put members, and what every step sees, on the device."""
        self.factors = self.factors or (self.calibrations() if self.fidelity.calibrated else [1.0] * len(self.formulas))
        kept = moments(self.fidelity.optimizer)
        self.members = Members(self._models, self.class_weights, self._seeds, len(self.formulas), self._device, kept)
        self.members.set_paces(self._paces)
        self._schedule = Schedule(self.task, self.fidelity, self._seeds, self._device)
        if self._states:
            self.members.continue_from(self._states)
            self._schedule.position.fill_(self.step)
        self._go_on_with([place for place, factor in enumerate(self.factors) if factor is not None])

    def _go_on_with(self, places: Sequence[int]) -> None:
        """Train the members in these places alone."""
        if len(places) < len(self.alive):
            self.members.keep(places)
            self.alive = [self.alive[place] for place in places]
            formulas = [self.formulas[candidate] for candidate in self.alive]
            self._gradient = JointGradient(formulas, self.task.classes, self._device)
        factors = [self.factors[candidate] or 0.0 for candidate in self.alive]
        self._gradient.prepare(self._targets_of_a_batch, len(self._seeds), factors)
        self._failures = torch.zeros(len(self._seeds), len(places), dtype=torch.int64, device=self._device)
        self._replay = Replay(self._device)

    def train(self, until: int) -> None:
        """Gradient descent, in place, up to a stage."""
        averaged_from = self.fidelity.averaged_from(until)
        interval = max(1, self.fidelity.steps // CHECKS)
        while self.step < until and self.alive:
            if self.step == averaged_from:
                self.members.start_averaging()
                self._replay = Replay(self._device)
            stops = (until, averaged_from, interval * (self.step // interval + 1))
            times = min(stop for stop in stops if stop > self.step) - self.step
            self._replay.repeat(self._one_step, times)
            self.step += times
            self._drop_hopeless()

    def _one_step(self) -> None:
        """One step of every member, on the device alone."""
        inputs, targets = self._schedule.batch()
        self._shared["progress"].copy_(self._schedule.progress.view(1, 1, 1))
        finite = self._backward(self.members.heads, self.members.network.embed(inputs), targets)
        step = self._schedule.position + 1
        self._failures.copy_(torch.where((self._failures == 0) & ~finite, step, self._failures))
        self.members.descend(self._schedule.rate, self._schedule.position, self.fidelity)
        self._schedule.advance()

    def _drop_hopeless(self) -> None:
        """Note who has failed; where many have no hope, go on without them.

        A candidate's evaluations end with the first seed that failed: without hope is one that failed under the first.
        """
        failures = self._failures.tolist()
        for noted, of_seed in zip(self._failed_at, failures, strict=True):
            for candidate, step in zip(self.alive, of_seed, strict=True):
                noted[candidate] = noted[candidate] or step
        hopeful = [place for place, candidate in enumerate(self.alive) if not self._failed_at[0][candidate]]
        if len(self.alive) - len(hopeful) >= max(1.0, DROPPED_FROM * len(self.alive)):
            self._go_on_with(hopeful)

    def _backward(self, heads: Heads, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Backpropagate the losses' gradients from the features; returns which members' are finite."""
        features = heads.features(embeddings, [name for name in FEATURES if self._gradient.used[name]])
        shared = self._shared | {"index": targets.reshape(1, 1, -1)}
        if "y" in self._gradient.shared:
            shared["y"] = F.one_hot(targets.flatten(), self.task.classes).T.unsqueeze(0).to(torch.float32)
        given = {name: feature.transpose(0, 1).transpose(1, 2) for name, feature in features.items()}
        gradients = {name: g.transpose(1, 2).transpose(0, 1) for name, g in self._gradient.run(given, shared).items()}
        moved = [name for name in gradients if features[name].requires_grad]
        torch.autograd.backward([features[name] for name in moved], [gradients[name] for name in moved])
        finite = torch.ones(embeddings.shape[:2], dtype=torch.bool, device=self._device)
        for gradient in gradients.values():
            finite &= torch.isfinite(gradient.sum((2, 3)))
        return finite

    # --- scoring -------------------------------------------------------------------------------------

    @torch.no_grad()
    def score(self, split: Split) -> Tensor:
        """The task's metric on a split for each member, [seeds, members]; -1 where its outputs are not finite."""
        if not self.alive:
            return torch.zeros(len(self._seeds), 0)
        split = resident(split, self._device)
        seen = self.seen(split, self.task.metric.looks_at)
        return torch.where(torch.isfinite(seen).all(3).all(2), self.task.metric.score(seen, split), -1.0)

    @torch.no_grad()
    def seen(self, split: Split, what: str) -> Tensor:
        """Logits or embeddings of a split's samples, [seeds, members, classes or size, samples]."""
        size = 2 * self.fidelity.batch_size  # activations of so many take no more room than those of a training step
        at_once = what == "logits" and self.class_weights is None  # logits of a head take less room than embeddings
        parts = (self._embeddings(inputs) for inputs in resident(split, self._device).inputs.split(size))
        if at_once:
            return torch.cat([self.logits(part) for part in parts], 3)
        seen = torch.cat(list(parts), 3)
        return self.logits(seen) if what == "logits" else seen

    @torch.no_grad()
    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits [seeds, members, classes, samples] of embeddings [seeds, members, size, samples]."""
        if self.class_weights is None:
            return self.members.heads.features(embeddings, ("z",))["z"]
        return torch.stack([self._scores(embeddings, place) for place in range(len(self.alive))], 1)

    def _embeddings(self, inputs: Tensor) -> Tensor:
        inputs = as_numbers(inputs)
        return self.members.network.embed(inputs.expand(len(self._seeds), *inputs.shape))

    def _scores(self, embeddings: Tensor, place: int) -> Tensor:
        """What a member over embeddings classifies by, [seeds, classes, samples]."""
        program = lower_logits(scores(self.formulas[self.alive[place]]))
        inputs = self.members.heads.inputs(embeddings, place)
        found = []
        for seed in range(len(self._seeds)):
            of_seed = {name: each[seed] for name, each in inputs.items()}
            like = of_seed["embeddings"]
            of_seed["y"] = like.new_zeros(len(like), self.task.classes)
            of_seed |= {name: each[0, 0, 0] for name, each in self._shared.items()}
            of_seed["prior"] = self._shared["prior"][:, :, 0]
            found.append(program.run(of_seed).T)
        return torch.stack(found)

    def _outcomes(self, fitness: Tensor) -> Iterator[Outcome]:
        found = dict(zip(self.alive, fitness.T.tolist(), strict=True))
        for candidate, factor in enumerate(self.factors):
            own = found.get(candidate, [-1.0] * len(self._seeds))
            reasons = [
                self._reason(factor, of_seed[candidate], each)
                for of_seed, each in zip(self._failed_at, own, strict=True)
            ]
            yield outcome(factor, own, reasons)

    def _reason(self, factor: float | None, failed_at: int, fitness: float) -> str | None:
        if factor is None:
            return NO_GRADIENT
        if failed_at:
            return diverged(failed_at, self.fidelity.steps, "gradient")
        return NOT_FINITE if fitness < 0.0 else None
