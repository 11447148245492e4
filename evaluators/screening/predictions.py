"""Predictions in screening: small tensors that every loss moves down its own gradient.

A loss over logits moves logits. A loss over embeddings moves embeddings, class weights and centers. All losses start
from the same values.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from lossearch.evaluators.cohort.heads import ClassWeightHeads
from lossearch.primitives.analysis.targets import scores
from lossearch.primitives.language.formula import Formula, Name
from lossearch.primitives.language.terminals import FEATURES
from lossearch.primitives.modules.class_weights import ClassWeights, uniform_vectors
from lossearch.primitives.programs.lowering import lower_logits

#: Number of classes and embedding size.
CLASSES, SIZE = 4, 6


class Predictions:
    """Predictions of losses that are ordered by their kinds of class weights; the kind is None for logits.

    They start from the first of ``inputs`` [samples, size] for losses over logits, and from the second for losses over
    embeddings. ``used`` holds the places of the losses that take each feature.
    """

    def __init__(
        self,
        formulas: Sequence[Formula],
        kinds: Sequence[str | None],
        inputs: tuple[Tensor, Tensor],
        used: Mapping[str, Sequence[int]],
        shared: Mapping[str, Tensor],
    ) -> None:
        self._num_losses, self._num_samples = len(formulas), len(inputs[0])
        self._groups: list[tuple[range, Points, list[str]]] = []  # places, points and names of features of each kind
        for kind, group in groupby(range(len(formulas)), key=lambda place: kinds[place]):
            places = list(group)
            rows = range(places[0], places[-1] + 1)
            of_kind = [formulas[place] for place in places]
            points = Logits(inputs[0], len(of_kind)) if kind is None else Embeddings(inputs[1], kind, of_kind, shared)
            self._groups.append((rows, points, [name for name, users in used.items() if set(rows) & set(users)]))
        self._gradients: list[tuple[Tensor, ...]] = []

    def compute_features(self) -> dict[str, Tensor]:
        """Compute the features that losses take, [losses, classes, samples]; the norm has 1 in the place of classes."""
        self._features = [points.compute_features(names) for _, points, names in self._groups]
        joined = {}
        for name in dict.fromkeys(name for features in self._features for name in features):
            joined[name] = torch.zeros(self._num_losses, 1 if name == "norm" else CLASSES, self._num_samples)
            for (rows, _, _), features in zip(self._groups, self._features, strict=True):
                if name in features:
                    joined[name][rows.start : rows.stop] = features[name][0].detach()
        return joined

    def backpropagate(self, gradients: Mapping[str, Tensor]) -> None:
        """Backpropagate the losses' gradients from the features that were computed last."""
        self._gradients = []
        for (rows, points, _), features in zip(self._groups, self._features, strict=True):
            names = [name for name in gradients if name in features and features[name].requires_grad]
            self._gradients.append(
                torch.autograd.grad(
                    [features[name] for name in names],
                    points.tensors,
                    [gradients[name][rows.start : rows.stop].unsqueeze(0) for name in names],
                    allow_unused=True,
                    materialize_grads=True,
                )
            )

    def slopes(self) -> list[list[float]]:
        """Return for each loss the largest absolute gradient in each of its tensors."""
        slopes: list[list[float]] = []
        for gradients in self._gradients:
            largest = [gradient[0].abs().flatten(1).amax(1) for gradient in gradients]
            slopes += torch.stack(largest, 1).tolist()
        return slopes

    @torch.no_grad()
    def descend(self, step: float) -> None:
        """Move all tensors by a step against the sign of their gradients."""
        for (_, points, _), gradients in zip(self._groups, self._gradients, strict=True):
            for tensor, gradient in zip(points.tensors, gradients, strict=True):
                tensor -= step * gradient.sign()

    @torch.no_grad()
    def predict(self, places: Sequence[int]) -> dict[int, Tensor]:
        """Return the classes [samples] that the losses in these places predict, by place."""
        classes: dict[int, Tensor] = {}
        for rows, points, _ in self._groups:
            in_group = [place for place in places if place in rows]
            if in_group:
                classes |= zip(in_group, points.predict([place - rows.start for place in in_group]), strict=True)
        return classes


class Points(Protocol):
    """Predictions of losses with class weights of one kind."""

    #: Tensors [1, losses, ...] that a gradient moves.
    tensors: list[Tensor]

    def compute_features(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Compute features, [1, losses, classes, samples]; the norm has 1 in the place of classes."""

    def predict(self, places: Sequence[int]) -> Tensor:
        """Return the classes [places, samples] that the losses in these places predict."""


class Logits:
    """Predictions of losses over logits."""

    def __init__(self, inputs: Tensor, num_losses: int) -> None:
        self.tensors = [_repeat_for_losses(inputs, num_losses)]

    def compute_features(self, names: Sequence[str]) -> dict[str, Tensor]:
        return {"z": self.tensors[0]}

    def predict(self, places: Sequence[int]) -> Tensor:
        return self.tensors[0][0, places].argmax(1)


class Embeddings:
    """Predictions of losses over embeddings; ``shared`` holds the inputs that all formulas have in common."""

    def __init__(
        self, inputs: Tensor, class_weights: str, formulas: Sequence[Formula], shared: Mapping[str, Tensor]
    ) -> None:
        weight, centers = _draw_class_weights(class_weights)
        learned = class_weights != "pedcc"
        self._heads = ClassWeightHeads([weight], [centers], len(formulas), inputs.device, learned=learned)
        self._embeddings = _repeat_for_losses(inputs, len(formulas))
        self.tensors = [self._embeddings, *self._heads.parameters]
        self._formulas = formulas
        self._shared = {name: tensor[0].T for name, tensor in shared.items()}

    def compute_features(self, names: Sequence[str]) -> dict[str, Tensor]:
        return self._heads.compute_features(self._embeddings, names)

    def predict(self, places: Sequence[int]) -> Tensor:
        # Most losses classify by a plain feature, which is computed for all of them at once.
        by_place = {place: _scores(self._formulas[place]) for place in places}
        names = {formula.name for formula in by_place.values() if isinstance(formula, Name)} & set(FEATURES)
        features = self.compute_features(sorted(names))
        classes = {name: feature[0].argmax(1) for name, feature in features.items()}
        return torch.stack(
            [
                classes[formula.name][place]
                if isinstance(formula, Name) and formula.name in names
                else self._predict_by(formula, place)
                for place, formula in by_place.items()
            ]
        )

    def _predict_by(self, formula: Formula, place: int) -> Tensor:
        """Return the classes [samples] with the largest scores, where ``formula`` gives the scores of a loss."""
        inputs = {name: tensor[0] for name, tensor in self._heads.program_inputs(self._embeddings, place).items()}
        classes: Tensor = lower_logits(formula).run(inputs | self._shared).argmax(1)
        return classes


_scores = lru_cache(maxsize=1024)(scores)


def _repeat_for_losses(inputs: Tensor, num_losses: int) -> Tensor:
    """Repeat inputs [samples, size] for every loss, [1, losses, size, samples], to be moved."""
    return inputs.T.repeat(1, num_losses, 1, 1).requires_grad_()


@lru_cache(maxsize=4)
def _draw_class_weights(kind: str) -> tuple[Tensor, Tensor]:
    """Return the class weights of a kind, and the centers, that all losses start from."""
    generator = torch.Generator().manual_seed(1)
    weight = ClassWeights(kind, CLASSES, SIZE).initial(generator)
    return weight, uniform_vectors((CLASSES, SIZE), generator)
