"""Screened predictions: what screening moves down the gradients of many losses, for each loss predictions of its own.

Losses over logits have logits, those over embeddings have embeddings, class weights and centers; all start alike.
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

CLASSES, SIZE = 4, 6


class Points(Protocol):
    """Predictions of losses with class weights of one kind."""

    #: Tensors [1, losses, ...] that a gradient moves.
    points: list[Tensor]

    def features(self, wanted: Sequence[str]) -> dict[str, Tensor]:
        """The features that are wanted, [1, losses, classes, samples], with 1 in the place of classes for the norm."""

    def classes(self, places: Sequence[int]) -> Tensor:
        """The classes [places, samples] that the losses in these places predict."""


class Logits:
    """Predictions of losses over logits."""

    def __init__(self, inputs: Tensor, losses: int) -> None:
        self.points = [_repeated(inputs, losses)]

    def features(self, wanted: Sequence[str]) -> dict[str, Tensor]:
        return {"z": self.points[0]}

    def classes(self, places: Sequence[int]) -> Tensor:
        return self.points[0][0, places].argmax(1)


class Embeddings:
    """Predictions of losses over embeddings; ``shared`` is what formulas look at alike."""

    def __init__(
        self, inputs: Tensor, class_weights: str, formulas: Sequence[Formula], shared: Mapping[str, Tensor]
    ) -> None:
        weight, centers = _class_weights(class_weights)
        learned = class_weights != "pedcc"
        self._heads = ClassWeightHeads([weight], [centers], len(formulas), inputs.device, learned=learned)
        self._embeddings = _repeated(inputs, len(formulas))
        self.points = [self._embeddings, *self._heads.parameters]
        self._formulas = formulas
        self._shared = {name: each[0].T for name, each in shared.items()}

    def features(self, wanted: Sequence[str]) -> dict[str, Tensor]:
        return self._heads.features(self._embeddings, wanted)

    def classes(self, places: Sequence[int]) -> Tensor:
        """What the losses classify by without a margin is most often a feature, which all have at once."""
        by = {place: _scores(self._formulas[place]) for place in places}
        names = {each.name for each in by.values() if isinstance(each, Name)} & set(FEATURES)
        of_features = {name: each[0].argmax(1) for name, each in self.features(sorted(names)).items()}
        return torch.stack(
            [
                of_features[each.name][place]
                if isinstance(each, Name) and each.name in names
                else self._largest(each, place)
                for place, each in by.items()
            ]
        )

    def _largest(self, scores: Formula, place: int) -> Tensor:
        """The classes [samples] whose scores are the largest."""
        inputs = {name: each[0] for name, each in self._heads.inputs(self._embeddings, place).items()}
        found: Tensor = lower_logits(scores).run(inputs | self._shared).argmax(1)
        return found


class Predictions:
    """Predictions of losses in the order of their kinds of class weights, None for those over logits.

    They start from the first of ``inputs`` [samples, size] for losses over logits, else from the second. ``used`` are
    the losses that look at each feature.
    """

    def __init__(
        self,
        formulas: Sequence[Formula],
        kinds: Sequence[str | None],
        inputs: tuple[Tensor, Tensor],
        used: Mapping[str, Sequence[int]],
        shared: Mapping[str, Tensor],
    ) -> None:
        self._count, self._samples = len(formulas), len(inputs[0])
        self._groups: list[tuple[range, Points, list[str]]] = []
        for kind, group in groupby(range(len(formulas)), key=lambda place: kinds[place]):
            places = list(group)
            rows = range(places[0], places[-1] + 1)
            own = [formulas[place] for place in places]
            points = Logits(inputs[0], len(own)) if kind is None else Embeddings(inputs[1], kind, own, shared)
            self._groups.append((rows, points, [name for name, users in used.items() if set(rows) & set(users)]))
        self._gradients: list[tuple[Tensor, ...]] = []

    def features(self) -> dict[str, Tensor]:
        """The features that losses look at, [losses, classes, samples], with 1 in the place of classes for the norm."""
        self._seen = [points.features(wanted) for _, points, wanted in self._groups]
        found = {}
        for name in dict.fromkeys(name for seen in self._seen for name in seen):
            found[name] = torch.zeros(self._count, 1 if name == "norm" else CLASSES, self._samples)
            for (rows, _, _), seen in zip(self._groups, self._seen, strict=True):
                if name in seen:
                    found[name][rows.start : rows.stop] = seen[name][0].detach()
        return found

    def take(self, gradients: Mapping[str, Tensor]) -> None:
        """Take in the losses' gradients at the features that were given last."""
        self._gradients = []
        for (rows, points, _), seen in zip(self._groups, self._seen, strict=True):
            moved = [name for name in gradients if name in seen and seen[name].requires_grad]
            self._gradients.append(
                torch.autograd.grad(
                    [seen[name] for name in moved],
                    points.points,
                    [gradients[name][rows.start : rows.stop].unsqueeze(0) for name in moved],
                    allow_unused=True,
                    materialize_grads=True,
                )
            )

    def slopes(self) -> list[list[float]]:
        """For each loss, the largest slope in its inputs, and in its class weights and centers; none is left out."""
        found: list[list[float]] = []
        for gradients in self._gradients:
            largest = [gradient[0].abs().flatten(1).amax(1) for gradient in gradients]
            found += torch.stack(largest, 1).tolist()
        return found

    @torch.no_grad()
    def descend(self, step: float) -> None:
        """Move everything by a step down the sign of its gradient."""
        for (_, points, _), gradients in zip(self._groups, self._gradients, strict=True):
            for point, gradient in zip(points.points, gradients, strict=True):
                point -= step * gradient.sign()

    @torch.no_grad()
    def classes(self, places: Sequence[int]) -> dict[int, Tensor]:
        """The classes [samples] that the losses in these places predict."""
        found: dict[int, Tensor] = {}
        for rows, points, _ in self._groups:
            own = [place for place in places if place in rows]
            if own:
                found |= zip(own, points.classes([place - rows.start for place in own]), strict=True)
        return found


_scores = lru_cache(maxsize=1024)(scores)


def _repeated(inputs: Tensor, losses: int) -> Tensor:
    """Inputs [samples, size] for every loss, [1, losses, size, samples], to be moved."""
    return inputs.T.repeat(1, losses, 1, 1).requires_grad_()


@lru_cache(maxsize=4)
def _class_weights(kind: str) -> tuple[Tensor, Tensor]:
    """Class weights of a kind, and centers, that all losses start from."""
    generator = torch.Generator().manual_seed(1)
    weight = ClassWeights(kind, CLASSES, SIZE).initial(generator)
    return weight, uniform_vectors((CLASSES, SIZE), generator)
