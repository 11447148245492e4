"""Optimizers: torch's SGD or Adam over a network, and over class weights and centers as a group of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossearch.evaluators.settings import TrainingSettings

#: What each optimiser keeps for a parameter, by torch's names.
KEPT = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq")}


class Optimizer:
    """Moves parameters of the network, at a rate that changes, and those of the head, at the same or a constant one."""

    def __init__(
        self,
        network: Sequence[nn.Parameter],
        head: Sequence[nn.Parameter],
        fidelity: TrainingSettings,
        own_rate: float | None = None,
    ) -> None:
        self.parameters = [*network, *head]
        self._own_rate, self._names = own_rate, KEPT[fidelity.optimizer]
        groups = [{"params": list(network)}, *([{"params": list(head)}] if head else [])]
        if fidelity.optimizer == "adam":
            self._optimizer: torch.optim.Optimizer = torch.optim.Adam(
                groups, betas=(fidelity.momentum, BETA2), eps=EPSILON, weight_decay=fidelity.weight_decay
            )
        else:
            self._optimizer = torch.optim.SGD(
                groups, 1.0, fidelity.momentum, weight_decay=fidelity.weight_decay, fused=True
            )

    def step(self, value: Tensor, rate: float) -> None:
        """Move every parameter along the gradient of a value."""
        for place, group in enumerate(self._optimizer.param_groups):
            group["lr"] = rate if self._own_rate is None or place == 0 else self._own_rate
        self._optimizer.zero_grad()
        value.backward()
        self._optimizer.step()

    def kept(self) -> list[Tensor]:
        """What it keeps for each parameter, one after the other; zeros where it has nothing yet."""
        found = []
        for parameter in self.parameters:
            state = self._optimizer.state[parameter]
            own = [state.get(name) for name in self._names]
            found += [torch.zeros_like(parameter) if each is None else each for each in own]
        return found

    def steps(self) -> Tensor:
        """How often each parameter was moved, [parameters]: not at all while it was fixed. Zeros for SGD."""
        return torch.tensor([float(self._optimizer.state[each].get("step", 0.0)) for each in self.parameters])

    def restore(self, kept: Sequence[Tensor], steps: Sequence[float]) -> None:
        """Go on from what it kept after so many steps of each parameter."""
        joined = iter(kept)
        for parameter, step in zip(self.parameters, steps, strict=True):
            own = {name: next(joined).to(parameter.device, copy=True) for name in self._names}
            if "exp_avg" in own:
                own["step"] = torch.tensor(step)
            if "exp_avg" not in own or step:
                self._optimizer.state[parameter].update(own)


# --- Descent: steps of gradient descent with momentum or of Adam on the tensors of a cohort, as torch.optim takes
# them.
#
# Invariant: a step works element by element, in place, and looks at no value on the host.

#: Decay of Adam's second moment, and what keeps its quotient finite (Kingma and Ba, ICLR 2015; torch's defaults).
BETA2, EPSILON = 0.999, 1e-8


def moments(optimizer: str) -> int:
    """How many tensors an optimiser keeps for each parameter: the velocity, or Adam's two moments."""
    return 2 if optimizer == "adam" else 1


def descend(
    parameter: Tensor, kept: Sequence[Tensor], rate: Tensor, position: Tensor, fidelity: TrainingSettings
) -> None:
    """Move a parameter along its gradient, which is then gone; ``kept`` are its velocity or moments, updated.

    ``rate`` broadcasts over the parameter; ``position`` [1] counts the steps before this one.
    """
    gradient = parameter.grad
    if gradient is None:
        return
    if fidelity.weight_decay:
        gradient.add_(parameter, alpha=fidelity.weight_decay)
    if fidelity.optimizer == "sgd":
        (velocity,) = kept
        velocity.mul_(fidelity.momentum).add_(gradient)
        parameter.addcmul_(velocity, rate, value=-1.0)
    else:
        first, second = kept
        first.lerp_(gradient, 1.0 - fidelity.momentum)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1.0 - BETA2)
        step = position + 1
        size = (second / (1.0 - torch.pow(BETA2, step))).sqrt_().add_(EPSILON)
        parameter.addcmul_(first / size, rate / (1.0 - torch.pow(fidelity.momentum, step)), value=-1.0)
    parameter.grad = None


# --- Plateau: a learning rate that falls where the validation score no longer rises.


@dataclass
class Plateau:
    """What the learning rate is multiplied by, the best score so far, and how many epochs have passed since."""

    scale: float = 1.0
    best: float = -1.0
    waited: int = 0

    def look(self, score: float, fidelity: TrainingSettings) -> None:
        """Take in an epoch's score: lower the rate after more than ``patience`` epochs without a better one."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > fidelity.patience:
            self.scale, self.waited = self.scale * fidelity.decay, 0

    def as_tensor(self) -> Tensor:
        """The state, [3], as exact as it is."""
        return torch.tensor([self.scale, self.best, float(self.waited)], dtype=torch.float64)

    @staticmethod
    def of(tensor: Tensor) -> "Plateau":
        """The plateau that has this state."""
        scale, best, waited = tensor.tolist()
        return Plateau(scale, best, int(waited))
