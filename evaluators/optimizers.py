"""Optimizers: torch's SGD or Adam over a network, and over class weights and centers as a group of their own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lossearch.evaluators.descent import BETA2, EPSILON
from lossearch.evaluators.fidelity import Fidelity

#: What each optimiser keeps for a parameter, by torch's names.
KEPT = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq")}


class Optimizer:
    """Moves parameters of the network, at a rate that changes, and those of the head, at the same or a constant one."""

    def __init__(
        self,
        network: Sequence[nn.Parameter],
        head: Sequence[nn.Parameter],
        fidelity: Fidelity,
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
