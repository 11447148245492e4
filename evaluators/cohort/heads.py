"""Heads of a cohort: compute the features that losses take from embeddings [seeds, candidates, size, batch].

Features have the shape [seeds, candidates, classes, batch]; the norm has 1 in the place of classes.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from lossearch.evaluators.cohort.networks import repeat_for_candidates
from lossearch.evaluators.training.start import Model, initial_class_weights
from lossearch.primitives.language import numerics


class Heads(Protocol):
    """Heads of all members."""

    #: Tensors [seeds, candidates, ...] that an optimiser moves.
    parameters: list[Tensor]
    #: The parameters, and the tensors that stay as they are.
    tensors: list[Tensor]

    def compute_features(self, embeddings: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Compute the features with these names."""

    def program_inputs(self, embeddings: Tensor, candidate: int) -> dict[str, Tensor]:
        """Return what a program computes features from, for one candidate under each seed: [seeds, batch, size], ..."""


class LinearHeads:
    """A linear layer for each member, for losses over logits."""

    def __init__(self, heads: Sequence[nn.Linear], candidates: int, device: torch.device) -> None:
        self.weight = repeat_for_candidates([head.weight for head in heads], candidates, device)
        self.bias = repeat_for_candidates([head.bias for head in heads], candidates, device)
        self.parameters = self.tensors = [self.weight, self.bias]

    def compute_features(self, embeddings: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Compute the logits, whatever the names."""
        return {"z": torch.matmul(self.weight, embeddings) + self.bias.unsqueeze(3)}

    def program_inputs(self, embeddings: Tensor, candidate: int) -> dict[str, Tensor]:
        return {"z": self.compute_features(embeddings, ("z",))["z"][:, candidate].transpose(1, 2)}


class ClassWeightHeads:
    """Class weights and centers for each member, for losses over embeddings.

    ``weights`` and ``centers`` hold those of each seed, [classes, size], or [classes, sub-centers, size] for weights.
    ``learned`` is True if the weights are trained.
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
        self.weight = repeat_for_candidates(weights, candidates, device).requires_grad_(learned)
        self.centers = repeat_for_candidates(centers, candidates, device)
        self.tensors = [self.weight, self.centers]
        self.parameters = self.tensors if learned else [self.centers]

    def compute_features(self, embeddings: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Compute the features with these names, of cosine, z, dist2, norm and weight_norm."""
        features = {}
        if "cosine" in names:
            features["cosine"] = self._compute_cosine(embeddings)
        if "z" in names:
            features["z"] = torch.matmul(self.weight, embeddings)
        if "dist2" in names:
            features["dist2"] = self._compute_squared_distance(embeddings)
        if "norm" in names:
            features["norm"] = torch.linalg.vector_norm(embeddings, dim=2, keepdim=True)
        if "weight_norm" in names:
            norm = torch.linalg.vector_norm(self.weight, dim=3).unsqueeze(3)
            features["weight_norm"] = norm.expand(*norm.shape[:3], embeddings.shape[3])
        return features

    def program_inputs(self, embeddings: Tensor, candidate: int) -> dict[str, Tensor]:
        inputs = {"embeddings": embeddings[:, candidate].transpose(1, 2)}
        inputs |= {"weight": self.weight[:, candidate], "centers": self.centers[:, candidate]}
        if self.weight.ndim == 4:  # one weight for each class, not several
            inputs["z"] = torch.matmul(inputs["embeddings"], inputs["weight"].transpose(1, 2))
        return inputs

    def _compute_cosine(self, embeddings: Tensor) -> Tensor:
        unit = numerics.unit_vectors(embeddings, 2)
        if self.weight.ndim == 4:
            return torch.matmul(numerics.unit_vectors(self.weight, 3), unit)
        # Sub-centers: the cosine of a class is the largest of its several weights.
        cosines = torch.matmul(numerics.unit_vectors(self.weight, 4).flatten(2, 3), unit)
        return cosines.unflatten(2, self.weight.shape[2:4]).amax(3)

    def _compute_squared_distance(self, embeddings: Tensor) -> Tensor:
        # |x - c|^2 = |x|^2 + |c|^2 - 2 x·c about the mean of the centers, as in numerics.squared_distance
        origin = self.centers.detach().mean(2, keepdim=True)
        x, c = embeddings - origin.transpose(2, 3), self.centers - origin
        squares = x.square().sum(2, keepdim=True) + c.square().sum(3, keepdim=True)
        distance = squares - 2.0 * torch.matmul(c, x)
        return distance - distance.detach().clamp(max=0.0)


def build_heads(
    models: Sequence[Model], class_weights: str | None, seeds: Sequence[int], candidates: int, device: torch.device
) -> Heads:
    """Build the heads of candidates under each seed's model: linear ones for logits if ``class_weights`` is None."""
    if class_weights is None:
        return LinearHeads([model.head for model in models], candidates, device)
    weights = [initial_class_weights(class_weights, model, seed) for model, seed in zip(models, seeds, strict=True)]
    centers = [model.centers for model in models]
    return ClassWeightHeads(weights, centers, candidates, device, learned=class_weights != "pedcc")
