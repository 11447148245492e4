"""Screening: test many losses together before any training, and reject with a reason.

The tests, in order: the formula is finite on easy and on extreme predictions; it is not flat; and moving a few
predictions down its gradient brings them to their targets (the idea of the loss-rejection protocol of Li et al.,
AutoLoss-Zero, CVPR 2022).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lossearch.evaluators.screening.predictions import CLASSES, SIZE, Predictions
from lossearch.primitives.analysis.domains import find_undefined_part
from lossearch.primitives.analysis.targets import PREDICTIONS, moves
from lossearch.primitives.batched.uniform_gradient import UniformGradient
from lossearch.primitives.errors import UserError, shown
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.modules.class_weights import require_suits

#: Predictions that descend, their steps, the size of a step, and the steps between two checks of where they are.
SAMPLES = 12
STEPS, STEP_SIZE = 32, 0.25
CHECK_EVERY = 4

#: Slope, relative to the value, below which it is rounding error in float32.
FLAT = 1e-7

#: Beginning of the reason for a formula whose value does not move with the predictions.
FLAT_REASON = "flat: "

#: Share of the predictions that must reach their targets.
REQUIRED = 0.9


def rejection(formula: Formula, class_weights: str | None = None) -> str | None:
    """Return why a loss with these class weights cannot train, or None if it passes.

    Raises UserError if the class weights do not suit the formula.
    """
    return rejections([formula], [class_weights])[0]


def require_varying(formula: Formula, class_weights: str | None = None) -> None:
    """Raise UserError for a formula that trains nothing: a part of it is undefined, or its value never changes.

    A formula that a search would reject for another reason passes.
    """
    undefined = find_undefined_part(formula)
    if undefined is not None:
        raise UserError(f"Expected a formula that is defined everywhere, got {shown(str(formula), 200)}: {undefined}.")
    reason = rejection(formula, class_weights) or ""
    if reason.startswith(FLAT_REASON):
        raise UserError(
            f"Expected a formula whose value depends on the predictions, got {shown(str(formula), 200)}, which is "
            f"{reason}."
        )


def rejections(formulas: Sequence[Formula], class_weights: Sequence[str | None]) -> list[str | None]:
    """Return the same for many losses, each with its class weights, in far fewer calls than one by one."""
    kinds = [
        (weights or "learned") if formula.looks_at_embeddings else None
        for formula, weights in zip(formulas, class_weights, strict=True)
    ]
    order = sorted(range(len(formulas)), key=lambda place: kinds[place] or "")
    reasons: list[str | None] = [None] * len(formulas)
    if formulas:
        screening = _Screening([formulas[place] for place in order], [kinds[place] for place in order])
        for place, reason in zip(order, screening.run(), strict=True):
            reasons[place] = reason
    return reasons


class _Screening:
    """Tests of losses that are ordered by their kinds of class weights; the kind is None for logits."""

    def __init__(self, formulas: Sequence[Formula], kinds: Sequence[str | None]) -> None:
        for formula, kind in zip(formulas, kinds, strict=True):
            if kind is not None:
                require_suits(kind, formula)
        self._formulas, self._kinds = formulas, kinds
        self._program = UniformGradient(formulas)
        self._reasons: list[str | None] = [None] * len(formulas)

    def run(self) -> list[str | None]:
        """Return why each loss is rejected, or None if it passes."""
        for descriptions, inputs in _make_extremes():
            self._require_finite(descriptions, inputs)
        self._require_trainable()
        return self._reasons

    def _reject(self, place: int, reason: str) -> None:
        self._reasons[place] = self._reasons[place] or reason  # the first reason counts

    def _require_finite(self, descriptions: tuple[str | None, str | None], inputs: tuple[Tensor, Tensor]) -> None:
        shared = self._prepare(len(inputs[0]), progress=0.0)
        predictions = self._build_predictions(inputs, shared)
        self._compute_gradients(predictions, shared)
        for place, (value, slopes) in enumerate(zip(self._compute_mean_values(), predictions.slopes(), strict=True)):
            description = descriptions[self._kinds[place] is not None]
            if description and not math.isfinite(value):
                self._reject(place, f"not finite: the value is {value:g} on {description}")
            elif description and not all(map(math.isfinite, slopes)):
                self._reject(place, f"not finite: the gradient is not finite on {description}")

    def _require_trainable(self) -> None:
        """Descend by the sign of the gradient, which no scale of the loss changes, and count what reaches its target.

        Losses leave ``reached``, the share of predictions at their targets by place, once the share suffices.
        """
        shared = self._prepare(SAMPLES, progress=0.5)
        predictions = self._build_predictions((_start(False), _start(True)), shared)
        reached = dict.fromkeys(range(len(self._formulas)), 0.0)
        for step in range(STEPS):
            self._compute_gradients(predictions, shared)
            if step == 0:
                self._require_slopes(predictions)
                reached = {place: 0.0 for place in reached if self._reasons[place] is None}
            predictions.descend(STEP_SIZE)
            if (step + 1) % CHECK_EVERY == 0:
                shares = _compute_shares_at_targets(predictions, list(reached))
                reached = {place: share for place, share in shares.items() if share < REQUIRED}
            if not reached:
                return
        for place, share in reached.items():
            shortfall = f"{share:.0%} of the predictions reach their targets in {STEPS} steps, {REQUIRED:.0%} must"
            self._reject(place, f"untrainable: {shortfall}")

    def _require_slopes(self, predictions: Predictions) -> None:
        for place, (value, slopes) in enumerate(zip(self._compute_mean_values(), predictions.slopes(), strict=True)):
            moved = PREDICTIONS - {"weight_norm"} if self._kinds[place] == "pedcc" else PREDICTIONS
            if not moves(self._formulas[place], moved):
                self._reject(place, f"{FLAT_REASON}the value depends on no prediction")
            elif not max(slopes) > FLAT * abs(value):  # not <=, which NaN would pass
                self._reject(place, f"{FLAT_REASON}the largest slope is {max(slopes):.1g}")

    def _prepare(self, num_samples: int, progress: float) -> dict[str, Tensor]:
        """Make room in the program for a number of samples, and return the inputs that all formulas have in common."""
        self._program.prepare(CLASSES, num_samples)
        return {
            "y": _make_targets(num_samples).T.unsqueeze(0),
            "prior": torch.full((1, CLASSES, 1), 1.0 / CLASSES),
            "num_classes": torch.full((1, 1, 1), float(CLASSES)),
            "progress": torch.full((1, 1, 1), progress),
        }

    def _build_predictions(self, inputs: tuple[Tensor, Tensor], shared: dict[str, Tensor]) -> Predictions:
        return Predictions(self._formulas, self._kinds, inputs, self._program.used, shared)

    def _compute_gradients(self, predictions: Predictions, shared: dict[str, Tensor]) -> None:
        """Compute every loss and its gradient at its predictions."""
        predictions.backpropagate(self._program.run(predictions.compute_features(), shared))

    def _compute_mean_values(self) -> list[float]:
        """Return the mean value of each loss at the predictions it was computed on last."""
        means: list[float] = self._program.values().mean(1).tolist()
        return means


def _compute_shares_at_targets(predictions: Predictions, places: Sequence[int]) -> dict[int, float]:
    """Return the share of predictions that have reached their targets, for the losses in these places."""
    targets = _make_targets(SAMPLES).argmax(1)
    classes = predictions.predict(places)
    shares = (torch.stack(list(classes.values())) == targets).float().mean(1).tolist()
    return dict(zip(classes, shares, strict=True))


@lru_cache(maxsize=4)
def _make_targets(num_samples: int) -> Tensor:
    """Return one-hot targets [samples, classes], the classes in turn."""
    return torch.eye(CLASSES)[torch.arange(num_samples) % CLASSES]


@lru_cache(maxsize=2)
def _start(embeddings: bool) -> Tensor:
    """Return the embeddings, or logits, [samples, size] that the descent starts from."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SAMPLES, SIZE if embeddings else CLASSES, generator=generator)


@lru_cache(maxsize=1)
def _make_extremes() -> tuple[tuple[tuple[str | None, str | None], tuple[Tensor, Tensor]], ...]:
    """Return extreme logits and extreme embeddings, with a description of each; None excludes them from the test.

    The two of a pair have the same number of samples.
    """
    equal, right, start = torch.zeros(CLASSES, CLASSES), torch.eye(CLASSES), _start(True)
    confident = 100.0 * torch.cat([right, right.roll(1, 0)])
    return (
        (("equal logits", "embeddings at zero"), (equal, torch.zeros(CLASSES, SIZE))),
        ((None, "embeddings of length 1,000"), (equal, 1e3 * start[:CLASSES])),
        (("confident right and wrong predictions", None), (confident, start[: len(confident)])),
    )
