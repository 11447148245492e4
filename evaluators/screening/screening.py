"""Screening: tests before any training, of many losses together, that reject with a reason.

In order: the formula is finite, on easy and on extreme predictions; it is not flat; and moving a few
predictions down its gradient brings them to their targets (the idea of the loss-rejection protocol of Li et
al., AutoLoss-Zero, CVPR 2022).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lossearch.evaluators.screening.predictions import CLASSES, SIZE, Predictions
from lossearch.primitives.analysis.targets import PREDICTIONS, moves
from lossearch.primitives.batched.uniform_gradient import UniformGradient
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.modules.class_weights import require_suits

SAMPLES = 12
STEPS, STEP_SIZE = 32, 0.25
CHECK_EVERY = 4

#: Slope, relative to the value, below which it is rounding error in float32.
FLAT = 1e-7

#: Share of the predictions that must reach their targets.
REQUIRED = 0.9


def rejection(formula: Formula, class_weights: str | None = None) -> str | None:
    """Why a loss with these class weights is not worth training, or None where it passes."""
    return rejections([formula], [class_weights])[0]


def rejections(formulas: Sequence[Formula], class_weights: Sequence[str | None]) -> list[str | None]:
    """The same for many losses, each with its class weights, in far fewer calls than one after the other."""
    kinds = [
        (weights or "learned") if formula.looks_at_embeddings else None
        for formula, weights in zip(formulas, class_weights, strict=True)
    ]
    order = sorted(range(len(formulas)), key=lambda place: kinds[place] or "")
    found: list[str | None] = [None] * len(formulas)
    if formulas:
        screening = _Screening([formulas[place] for place in order], [kinds[place] for place in order])
        for place, reason in zip(order, screening.reasons(), strict=True):
            found[place] = reason
    return found


class _Screening:
    """The tests of losses in the order of their kinds of class weights, None for those over logits."""

    def __init__(self, formulas: Sequence[Formula], kinds: Sequence[str | None]) -> None:
        for formula, kind in zip(formulas, kinds, strict=True):
            if kind is not None:
                require_suits(kind, formula)
        self._formulas, self._kinds = formulas, kinds
        self._program = UniformGradient(formulas)
        self._reasons: list[str | None] = [None] * len(formulas)

    def reasons(self) -> list[str | None]:
        """Why each is rejected, or None where it passes."""
        for descriptions, inputs in _extremes():
            self._require_finite(descriptions, inputs)
        self._require_trainable()
        return self._reasons

    def _reject(self, place: int, reason: str) -> None:
        self._reasons[place] = self._reasons[place] or reason  # the first one stands

    def _require_finite(self, descriptions: tuple[str | None, str | None], inputs: tuple[Tensor, Tensor]) -> None:
        shared = self._prepared(len(inputs[0]), progress=0.0)
        predictions = self._predictions(inputs, shared)
        self._look(predictions, shared)
        for place, (value, slopes) in enumerate(zip(self._values(), predictions.slopes(), strict=True)):
            description = descriptions[self._kinds[place] is not None]
            if description and not math.isfinite(value):
                self._reject(place, f"not finite: the value is {value:g} on {description}")
            elif description and not all(map(math.isfinite, slopes)):
                self._reject(place, f"not finite: the gradient is not finite on {description}")

    def _require_trainable(self) -> None:
        """Descend by the sign of the gradient, which no scale of the loss changes, and see where it leads."""
        shared = self._prepared(SAMPLES, progress=0.5)
        predictions = self._predictions((_start(False), _start(True)), shared)
        reached = dict.fromkeys(range(len(self._formulas)), 0.0)
        for step in range(STEPS):
            self._look(predictions, shared)
            if step == 0:
                self._require_slopes(predictions)
                reached = {place: 0.0 for place in reached if self._reasons[place] is None}
            predictions.descend(STEP_SIZE)
            if (step + 1) % CHECK_EVERY == 0:
                reached = {
                    place: share
                    for place, share in _shares_at_targets(predictions, list(reached)).items()
                    if share < REQUIRED
                }
            if not reached:
                return
        for place, share in reached.items():
            found = f"{share:.0%} of the predictions reach their targets in {STEPS} steps, {REQUIRED:.0%} must"
            self._reject(place, f"untrainable: {found}")

    def _require_slopes(self, predictions: Predictions) -> None:
        for place, (value, slopes) in enumerate(zip(self._values(), predictions.slopes(), strict=True)):
            moved = PREDICTIONS - {"weight_norm"} if self._kinds[place] == "pedcc" else PREDICTIONS
            if not moves(self._formulas[place], moved):
                self._reject(place, "flat: the value depends on no prediction")
            elif not max(slopes) > FLAT * abs(value):
                self._reject(place, f"flat: the largest slope is {max(slopes):.1g}")

    # --- values and gradients -------------------------------------------------------------------------

    def _prepared(self, samples: int, progress: float) -> dict[str, Tensor]:
        """Make room for so many samples; returns what every formula looks at alike."""
        self._program.prepare(CLASSES, samples)
        return {
            "y": _targets(samples).T.unsqueeze(0),
            "prior": torch.full((1, CLASSES, 1), 1.0 / CLASSES),
            "num_classes": torch.full((1, 1, 1), float(CLASSES)),
            "progress": torch.full((1, 1, 1), progress),
        }

    def _predictions(self, inputs: tuple[Tensor, Tensor], shared: dict[str, Tensor]) -> Predictions:
        return Predictions(self._formulas, self._kinds, inputs, self._program.used, shared)

    def _look(self, predictions: Predictions, shared: dict[str, Tensor]) -> None:
        """Compute every loss and its gradient at its predictions."""
        predictions.take(self._program.run(predictions.features(), shared))

    def _values(self) -> list[float]:
        """Mean value of each loss where it was computed last."""
        means: list[float] = self._program.values().mean(1).tolist()
        return means


def _shares_at_targets(predictions: Predictions, places: Sequence[int]) -> dict[int, float]:
    """Share of the predictions that have reached their targets, of the losses in these places."""
    wanted = _targets(SAMPLES).argmax(1)
    classes = predictions.classes(places)
    shares = (torch.stack(list(classes.values())) == wanted).float().mean(1).tolist()
    return dict(zip(classes, shares, strict=True))


@lru_cache(maxsize=4)
def _targets(samples: int) -> Tensor:
    return torch.eye(CLASSES)[torch.arange(samples) % CLASSES]


@lru_cache(maxsize=2)
def _start(embeddings: bool) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SAMPLES, SIZE if embeddings else CLASSES, generator=generator)


@lru_cache(maxsize=1)
def _extremes() -> tuple[tuple[tuple[str | None, str | None], tuple[Tensor, Tensor]], ...]:
    """Extreme logits and extreme embeddings: what they are, or None where they are not looked at; as many of both."""
    equal, right, start = torch.zeros(CLASSES, CLASSES), torch.eye(CLASSES), _start(True)
    confident = 100.0 * torch.cat([right, right.roll(1, 0)])
    return (
        (("equal logits", "embeddings at zero"), (equal, torch.zeros(CLASSES, SIZE))),
        ((None, "embeddings of length 1,000"), (equal, 1e3 * start[:CLASSES])),
        (("confident right and wrong predictions", None), (confident, start[: len(confident)])),
    )
