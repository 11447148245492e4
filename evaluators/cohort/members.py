"""Members of a cohort, one slice [seeds, candidates, ...] of each tensor: networks, heads, what the optimiser keeps.

Invariant: nothing mixes slices, and a step changes the tensors in place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from lossearch.evaluators.cohort.heads import Heads, heads_of
from lossearch.evaluators.cohort.networks import BATCHED, BatchedNetwork
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.training.optimizers import descend
from lossearch.evaluators.training.start import Model
from lossearch.evaluators.training.state import State, as_arrays, as_tensors


class Members:
    """As many candidates under each seed's initial model; ``class_weights`` is None for losses over logits.

    ``kept`` is how many tensors the optimiser keeps for each parameter.
    """

    def __init__(
        self,
        models: Sequence[Model],
        class_weights: str | None,
        seeds: Sequence[int],
        candidates: int,
        device: torch.device,
        kept: int = 1,
    ) -> None:
        backbones = [model.backbone for model in models]
        self.network: BatchedNetwork = BATCHED[type(backbones[0])](backbones, candidates, device)
        self.heads: Heads = heads_of(models, class_weights, seeds, candidates, device)
        self._parameters = [*self.network.parameters, *self.heads.parameters]
        self._kept = [[torch.zeros_like(each) for _ in range(kept)] for each in self._parameters]
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
        joined = iter([torch.stack(of_candidates, 1) for of_candidates in velocities])
        for parameter, of_candidates in zip(self._parameters, weights, strict=True):
            parameter.data = torch.stack(of_candidates, 1)
        self._kept = [[next(joined) for _ in own] for own in self._kept]

    def state(self, place: int, step: int, calibration: float) -> State:
        """Where the candidate in this place stands."""
        weights, velocities = (
            as_arrays([each[:, place] for each in tensors])
            for tensors in (self._parameters, [each for own in self._kept for each in own])
        )
        return State(step, calibration, weights, velocities)

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the candidates in these places alone."""
        index = torch.tensor(places, dtype=torch.int64, device=self._device)
        for tensor in (*self.network.parameters, *self.heads.tensors):
            tensor.data = tensor.data.index_select(1, index)
        self._kept = [[each.index_select(1, index) for each in own] for own in self._kept]
        self._sums = [each.index_select(1, index) for each in self._sums]
        self._pace = None if self._pace is None else self._pace.index_select(1, index)

    def start_averaging(self) -> None:
        """From here on, sum up the iterates."""
        self._sums = [torch.zeros_like(parameter) for parameter in self._parameters]

    @torch.no_grad()
    def descend(self, rate: Tensor, position: Tensor, fidelity: TrainingSettings) -> None:
        """One step of the optimiser at a position, and no gradients left."""
        for parameter, kept in zip(self._parameters, self._kept, strict=True):
            own = rate if self._pace is None else rate * self._pace.view(1, -1, *[1] * (parameter.ndim - 2))
            descend(parameter, kept, own, position, fidelity)
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
