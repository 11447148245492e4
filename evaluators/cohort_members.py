"""Members of a cohort: networks, heads and velocities, one slice [seeds, candidates, ...] for each, and their descent.

Invariant: nothing mixes slices, and a step changes the tensors in place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from evaluators.cohort_heads import Heads, heads_of
from evaluators.cohort_networks import BATCHED, BatchedNetwork
from evaluators.fidelity import Fidelity
from evaluators.start import Model
from evaluators.state import State, as_arrays, as_tensors


class Members:
    """As many candidates under each seed's initial model; ``class_weights`` is None for losses over logits."""

    def __init__(
        self,
        models: Sequence[Model],
        class_weights: str | None,
        seeds: Sequence[int],
        candidates: int,
        device: torch.device,
    ) -> None:
        backbones = [model.backbone for model in models]
        self.network: BatchedNetwork = BATCHED[type(backbones[0])](backbones, candidates, device)
        self.heads: Heads = heads_of(models, class_weights, seeds, candidates, device)
        self._parameters = [*self.network.parameters, *self.heads.parameters]
        self._velocities = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._sums: list[Tensor] = []  # of iterates, where they are averaged
        self._pace: Tensor | None = None  # [1, candidates], what learning rates are multiplied by
        self._device = device

    def set_paces(self, paces: Sequence[float]) -> None:
        """Multiply every learning rate by a number for each candidate; by none where there are no numbers."""
        if any(pace != 1.0 for pace in paces):
            self._pace = torch.tensor([list(paces)], device=self._device)

    def continue_from(self, states: Sequence[State]) -> None:
        """Take weights and velocities from states, one for each candidate."""
        weights = zip(*(as_tensors(state.weights, self._device) for state in states), strict=True)
        velocities = zip(*(as_tensors(state.velocities, self._device) for state in states), strict=True)
        for parameter, of_candidates in zip(self._parameters, weights, strict=True):
            parameter.data = torch.stack(of_candidates, 1)
        self._velocities = [torch.stack(of_candidates, 1) for of_candidates in velocities]

    def state(self, place: int, step: int, calibration: float) -> State:
        """Where the candidate in this place stands."""
        weights, velocities = (
            as_arrays([each[:, place] for each in tensors]) for tensors in (self._parameters, self._velocities)
        )
        return State(step, calibration, weights, velocities)

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the candidates in these places alone."""
        index = torch.tensor(places, dtype=torch.int64, device=self._device)
        for tensor in (*self.network.parameters, *self.heads.tensors):
            tensor.data = tensor.data.index_select(1, index)
        self._velocities = [each.index_select(1, index) for each in self._velocities]
        self._sums = [each.index_select(1, index) for each in self._sums]
        self._pace = None if self._pace is None else self._pace.index_select(1, index)

    def start_averaging(self) -> None:
        """From here on, sum up the iterates."""
        self._sums = [torch.zeros_like(parameter) for parameter in self._parameters]

    @torch.no_grad()
    def descend(self, rate: Tensor, fidelity: Fidelity) -> None:
        """One step of gradient descent with momentum, as torch.optim.SGD does it, and no gradients left."""
        for parameter, velocity in zip(self._parameters, self._velocities, strict=True):
            gradient = parameter.grad
            if gradient is None:
                continue
            if fidelity.weight_decay:
                gradient.add_(parameter, alpha=fidelity.weight_decay)
            velocity.mul_(fidelity.momentum).add_(gradient)
            if self._pace is not None:
                own = rate * self._pace.view(1, -1, *[1] * (parameter.ndim - 2))
                parameter.addcmul_(velocity, own, value=-1.0)
            else:
                parameter.addcmul_(velocity, rate, value=-1.0)
            parameter.grad = None
        for total, parameter in zip(self._sums, self._parameters, strict=False):  # no sums where none are wanted
            total.add_(parameter)

    @contextmanager
    def averaged(self, steps: int) -> Iterator[None]:
        """Let the parameters be the mean of the last iterates, where so many were summed up; 0 leaves the last one."""
        iterates = [parameter.data for parameter in self._parameters]
        for parameter, total in zip(self._parameters, self._sums if steps else [], strict=False):
            parameter.data = total / steps
        try:
            yield
        finally:
            for parameter, iterate in zip(self._parameters, iterates, strict=True):
                parameter.data = iterate
            self._sums = []
