"""Outcome: what became of one candidate in training."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

#: Reasons that every kind of training gives alike.
NO_GRADIENT = "the first gradient at the embedding is 0 or not finite"
NOT_FINITE = "diverged: the trained network's outputs are not finite"


class TrainingFailed(Exception):
    """A training could not be finished; the message is the reason that is recorded."""


def diverged(step: int, steps: int, what: str) -> str:
    """The reason of a training that stopped being finite at a step."""
    return f"diverged at step {step} of {steps}: the {what} is not finite"


@dataclass(frozen=True)
class Outcome:
    """Under each seed a fitness in [0, 1], or the reason why there is none, and the factor of the calibration.

    A candidate's seeds after the first that failed have no fitness, and its reason.
    """

    calibration: float | None
    fitness: list[float | None]
    reasons: list[str | None]


def failed(reason: str, seeds: int) -> Outcome:
    """No training was finished, for one reason."""
    return Outcome(None, [None] * seeds, [reason] * seeds)


def outcome(calibration: float | None, fitness: list[float | None], reasons: list[str | None]) -> Outcome:
    """The outcome of trainings of which some may have failed."""
    failed_at = next((seed for seed, reason in enumerate(reasons) if reason), len(reasons))
    rest = len(reasons) - failed_at
    return Outcome(
        calibration,
        fitness[:failed_at] + [None] * rest,
        reasons[:failed_at] + ([reasons[failed_at]] * rest if rest else []),
    )


@dataclass(frozen=True)
class Outputs:
    """What a network gives for a split: logits [classes, samples] and embeddings [size, samples], on the CPU."""

    logits: Tensor
    embeddings: Tensor

    @property
    def finite(self) -> bool:
        """Whether there is neither NaN nor infinity."""
        return bool(torch.isfinite(self.logits).all() and torch.isfinite(self.embeddings).all())

    @cached_property
    def found(self) -> Tensor:
        """The class of the largest logit, [samples]."""
        return self.logits.argmax(0)
