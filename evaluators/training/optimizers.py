"""Optimisers: SGD with momentum and Adam, for one network and for a cohort, and a rate that falls on a plateau.

Invariant: ``descend`` does for the tensors of a cohort what torch.optim does for one network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossearch.evaluators.settings import TrainingSettings

#: Tensors that each optimiser keeps for a parameter, by torch's names: the velocity, or Adam's two moments.
KEPT = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq")}

#: Decay of Adam's second moment, and the term that keeps its quotient finite (Kingma and Ba, ICLR 2015; torch's
#: defaults).
BETA2, EPSILON = 0.999, 1e-8


class Optimizer:
    """torch's SGD or Adam over two groups of parameters: the network's, and the head's or the loss's.

    ``head_rate`` is a constant learning rate of the second group; None gives both groups the same rate.
    """

    def __init__(
        self,
        network: Sequence[nn.Parameter],
        head: Sequence[nn.Parameter],
        fidelity: TrainingSettings,
        head_rate: float | None = None,
    ) -> None:
        self.parameters = [*network, *head]
        self._head_rate, self._names = head_rate, KEPT[fidelity.optimizer]
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
        """Move every parameter down the gradient of a value."""
        for place, group in enumerate(self._optimizer.param_groups):
            group["lr"] = rate if self._head_rate is None or place == 0 else self._head_rate
        self._optimizer.zero_grad()
        value.backward()
        self._optimizer.step()

    def kept_tensors(self) -> list[Tensor]:
        """Return the tensors kept for each parameter, one after the other. A tensor not made yet is zero."""
        tensors = []
        for parameter in self.parameters:
            state = self._optimizer.state[parameter]
            kept = [state.get(name) for name in self._names]
            tensors += [torch.zeros_like(parameter) if tensor is None else tensor for tensor in kept]
        return tensors

    def steps(self) -> Tensor:
        """Return the number of steps that moved each parameter, [parameters]; zeros for SGD, which does not count.

        A parameter that was fixed at first has fewer steps than the others.
        """
        states = [self._optimizer.state[parameter] for parameter in self.parameters]
        return torch.tensor([float(state.get("step", 0.0)) for state in states])

    def restore(self, kept: Sequence[Tensor], steps: Sequence[float]) -> None:
        """Continue from the kept tensors after a number of steps for each parameter."""
        remaining = iter(kept)
        for parameter, step in zip(self.parameters, steps, strict=True):
            state = {name: next(remaining).to(parameter.device, copy=True) for name in self._names}
            if "exp_avg" in state:
                state["step"] = torch.tensor(step)
            if "exp_avg" not in state or step:
                self._optimizer.state[parameter].update(state)


def descend(
    parameter: Tensor, kept: Sequence[Tensor], rate: Tensor, position: Tensor, fidelity: TrainingSettings
) -> None:
    """Move a parameter of a cohort down its gradient, update its ``kept`` tensors and drop the gradient.

    ``rate`` broadcasts over the parameter; ``position`` [1] is the number of earlier steps. Everything is done element
    by element, in place, and no value is read on the host, so that a GPU can replay the step.
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


@dataclass
class Plateau:
    """A learning rate that falls when the validation score stops rising.

    ``scale`` multiplies the learning rate, ``best`` is the best score so far, and ``waited`` counts the epochs since.
    """

    scale: float = 1.0
    best: float = -1.0
    waited: int = 0

    def look(self, score: float, fidelity: TrainingSettings) -> None:
        """Take an epoch's score. Lower the rate after more than ``patience`` epochs without a better one."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > fidelity.patience:
            self.scale, self.waited = self.scale * fidelity.decay, 0

    def as_tensor(self) -> Tensor:
        """Return the plateau as a tensor [3] in float64, which loses nothing."""
        return torch.tensor([self.scale, self.best, float(self.waited)], dtype=torch.float64)

    @staticmethod
    def of(tensor: Tensor) -> "Plateau":
        """Rebuild the plateau from the tensor that ``as_tensor`` made."""
        scale, best, waited = tensor.tolist()
        return Plateau(scale, best, int(waited))
