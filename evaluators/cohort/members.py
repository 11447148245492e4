"""Members of a cohort: networks, heads and the optimiser's tensors, with one slice [seeds, candidates] for each member.

Invariant: nothing mixes slices, and a step changes the tensors in place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from lossearch.evaluators.cohort.heads import Heads, build_heads
from lossearch.evaluators.cohort.networks import BATCHED, BatchedNetwork
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.training.optimizers import descend
from lossearch.evaluators.training.start import Model
from lossearch.evaluators.training.state import State, as_arrays, as_tensors


class Members:
    """A number of candidates under each seed's initial model; ``class_weights`` is None for losses over logits.

    ``num_kept`` is the number of tensors that the optimiser keeps for each parameter.
    """

    def __init__(
        self,
        models: Sequence[Model],
        class_weights: str | None,
        seeds: Sequence[int],
        candidates: int,
        device: torch.device,
        num_kept: int = 1,
    ) -> None:
        backbones = [model.backbone for model in models]
        self.network: BatchedNetwork = BATCHED[type(backbones[0])](backbones, candidates, device)
        self.heads: Heads = build_heads(models, class_weights, seeds, candidates, device)
        self._parameters = [*self.network.parameters, *self.heads.parameters]
        self._kept = [[torch.zeros_like(parameter) for _ in range(num_kept)] for parameter in self._parameters]
        self._sums: list[Tensor] = []  # of the iterates, while they are averaged
        self._rate_factors: Tensor | None = None  # [1, candidates]
        self._device = device

    def scale_rates(self, factors: Sequence[float]) -> None:
        """Multiply each candidate's learning rate by a factor. An empty sequence changes nothing."""
        if any(factor != 1.0 for factor in factors):
            self._rate_factors = torch.tensor([list(factors)], device=self._device)

    def restore(self, states: Sequence[State]) -> None:
        """Take weights and velocities from states, one for each candidate."""
        weights = zip(*(as_tensors(state.weights, self._device) for state in states), strict=True)
        velocities = zip(*(as_tensors(state.velocities, self._device) for state in states), strict=True)
        stacked = iter([torch.stack(of_candidates, 1) for of_candidates in velocities])
        for parameter, of_candidates in zip(self._parameters, weights, strict=True):
            parameter.data = torch.stack(of_candidates, 1)
        self._kept = [[next(stacked) for _ in kept] for kept in self._kept]

    def state(self, place: int, step: int, calibration: float) -> State:
        """Return the state of the candidate in a place."""
        velocities = [tensor for kept in self._kept for tensor in kept]
        return State(
            step,
            calibration,
            as_arrays([parameter[:, place] for parameter in self._parameters]),
            as_arrays([velocity[:, place] for velocity in velocities]),
        )

    def keep(self, places: Sequence[int]) -> None:
        """Keep only the candidates in these places."""
        index = torch.tensor(places, dtype=torch.int64, device=self._device)
        for tensor in (*self.network.parameters, *self.heads.tensors):
            tensor.data = tensor.data.index_select(1, index)
        self._kept = [[tensor.index_select(1, index) for tensor in kept] for kept in self._kept]
        self._sums = [total.index_select(1, index) for total in self._sums]
        if self._rate_factors is not None:
            self._rate_factors = self._rate_factors.index_select(1, index)

    def start_averaging(self) -> None:
        """Sum up the iterates from here on."""
        self._sums = [torch.zeros_like(parameter) for parameter in self._parameters]

    @torch.no_grad()
    def descend(self, rate: Tensor, position: Tensor, fidelity: TrainingSettings) -> None:
        """Take one step of the optimiser at a position [1], and drop the gradients."""
        for parameter, kept in zip(self._parameters, self._kept, strict=True):
            scaled = rate
            if self._rate_factors is not None:
                scaled = rate * self._rate_factors.view(1, -1, *[1] * (parameter.ndim - 2))
            descend(parameter, kept, scaled, position, fidelity)
        for total, parameter in zip(self._sums, self._parameters, strict=False):  # there are no sums before averaging
            total.add_(parameter)

    @contextmanager
    def averaged(self, steps: int) -> Iterator[None]:
        """Replace the parameters by the mean of the last ``steps`` iterates for a while; 0 keeps the last iterate."""
        iterates = [parameter.data for parameter in self._parameters]
        for parameter, total in zip(self._parameters, self._sums if steps else [], strict=False):
            parameter.data = total / steps
        try:
            yield
        finally:
            for parameter, iterate in zip(self._parameters, iterates, strict=True):
                parameter.data = iterate
            self._sums = []
