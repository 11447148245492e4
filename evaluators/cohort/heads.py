"""Heads of a cohort: what losses look at, computed from embeddings [seeds, candidates, size, batch].

Features have the shape [seeds, candidates, classes, batch], with 1 in the place of classes for the norm.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from lossearch.evaluators.cohort.networks import repeated
from lossearch.evaluators.training.start import Model, initial_class_weights
from lossearch.primitives.language import numerics


class Heads(Protocol):
    """The heads of all members: parameters, and the features that losses look at."""

    #: Tensors [seeds, candidates, ...] that an optimiser moves.
    parameters: list[Tensor]
    #: These, and those that stay as they are.
    tensors: list[Tensor]

    def features(self, embeddings: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """The features that are wanted."""

    def inputs(self, embeddings: Tensor, candidate: int) -> dict[str, Tensor]:
        """What programs compute features from, for one candidate under each seed: [seeds, batch, size] and the like."""


class LinearHeads:
    """A linear layer for each member, for losses over logits."""

    def __init__(self, heads: Sequence[nn.Linear], candidates: int, device: torch.device) -> None:
        self.weight = repeated([head.weight for head in heads], candidates, device)
        self.bias = repeated([head.bias for head in heads], candidates, device)
        self.parameters = self.tensors = [self.weight, self.bias]

    def features(self, embeddings: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Logits."""
        return {"z": torch.matmul(self.weight, embeddings) + self.bias.unsqueeze(3)}

    def inputs(self, embeddings: Tensor, candidate: int) -> dict[str, Tensor]:
        return {"z": self.features(embeddings, ("z",))["z"][:, candidate].transpose(1, 2)}


class ClassWeightHeads:
    """Class weights for each member, and centers where losses look at them, for losses over embeddings.

    ``weights`` and ``centers`` hold those of each seed; ``learned`` says whether the weights are trained.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        centers: Sequence[Tensor],
        candidates: int,
        device: torch.device,
        *,
        learned: bool,
    ) -> None:
        self.weight = repeated(weights, candidates, device).requires_grad_(learned)
        self.centers = repeated(centers, candidates, device)
        self.tensors = [self.weight, self.centers]
        self.parameters = self.tensors if learned else [self.centers]

    def features(self, embeddings: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """The features that are wanted, of cosine, z, dist2, norm and weight_norm."""
        found = {}
        if "cosine" in wanted:
            found["cosine"] = self._cosine(embeddings)
        if "z" in wanted:
            found["z"] = torch.matmul(self.weight, embeddings)
        if "dist2" in wanted:
            found["dist2"] = self._squared_distance(embeddings)
        if "norm" in wanted:
            found["norm"] = torch.linalg.vector_norm(embeddings, dim=2, keepdim=True)
        if "weight_norm" in wanted:
            norm = torch.linalg.vector_norm(self.weight, dim=3).unsqueeze(3)
            found["weight_norm"] = norm.expand(*norm.shape[:3], embeddings.shape[3])
        return found

    def inputs(self, embeddings: Tensor, candidate: int) -> dict[str, Tensor]:
        found = {"embeddings": embeddings[:, candidate].transpose(1, 2)}
        found |= {"weight": self.weight[:, candidate], "centers": self.centers[:, candidate]}
        if self.weight.ndim == 4:
            found["z"] = torch.matmul(found["embeddings"], found["weight"].transpose(1, 2))
        return found

    def _cosine(self, embeddings: Tensor) -> Tensor:
        unit = numerics.unit_vectors(embeddings, 2)
        if self.weight.ndim == 4:
            return torch.matmul(numerics.unit_vectors(self.weight, 3), unit)
        every = torch.matmul(
            numerics.unit_vectors(self.weight, 4).flatten(2, 3), unit
        )  # of several weights for each class
        return every.unflatten(2, self.weight.shape[2:4]).amax(3)

    def _squared_distance(self, embeddings: Tensor) -> Tensor:
        inner = torch.matmul(self.centers, embeddings)
        squares = embeddings.square().sum(2, keepdim=True) + self.centers.square().sum(3, keepdim=True)
        return (squares - 2.0 * inner).clamp(min=0.0)


def heads_of(
    models: Sequence[Model], class_weights: str | None, seeds: Sequence[int], candidates: int, device: torch.device
) -> Heads:
    """The heads of candidates under each seed's model, with class weights of a kind, or None for logits."""
    if class_weights is None:
        return LinearHeads([model.head for model in models], candidates, device)
    weights = [initial_class_weights(class_weights, model, seed) for model, seed in zip(models, seeds, strict=True)]
    centers = [model.centers for model in models]
    return ClassWeightHeads(weights, centers, candidates, device, learned=class_weights != "pedcc")
