"""Results of a training: a fitness or a reason for each seed, and the outputs of the trained network."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

#: Reasons that every kind of training records in the same words.
NO_GRADIENT = "the first gradient at the embedding is 0 or not finite"
NOT_FINITE = "diverged: the trained network's outputs are not finite"


class TrainingFailed(Exception):
    """Raised for a training that could not be finished. The message is the reason to record."""


def describe_divergence(step: int, steps: int, quantity: str) -> str:
    """Return the reason for a training whose loss or gradient stopped being finite at a step."""
    return f"diverged at step {step} of {steps}: the {quantity} is not finite"


@dataclass(frozen=True)
class Outcome:
    """Fitness in [0, 1] or a reason for failure under each seed, and the calibration factor.

    Seeds after the first failure have no fitness and carry the reason of that failure.
    """

    calibration: float | None
    fitness: list[float | None]
    reasons: list[str | None]

    @classmethod
    def of_failure(cls, reason: str, num_seeds: int) -> "Outcome":
        """Return the outcome of a candidate that failed under every seed for one reason."""
        return cls(None, [None] * num_seeds, [reason] * num_seeds)

    @classmethod
    def of_trainings(
        cls, calibration: float | None, fitness: list[float | None], reasons: list[str | None]
    ) -> "Outcome":
        """Return the outcome of trainings under every seed, cut at the first failure."""
        first = next((place for place, reason in enumerate(reasons) if reason), len(reasons))
        num_failed = len(reasons) - first
        return cls(
            calibration,
            fitness[:first] + [None] * num_failed,
            reasons[:first] + ([reasons[first]] * num_failed if num_failed else []),
        )


@dataclass(frozen=True)
class Outputs:
    """Outputs of a network for a split: logits [classes, samples] and embeddings [size, samples], on the CPU."""

    logits: Tensor
    embeddings: Tensor

    @property
    def is_finite(self) -> bool:
        """True if no output is NaN or infinite."""
        return bool(torch.isfinite(self.logits).all() and torch.isfinite(self.embeddings).all())

    @cached_property
    def predicted(self) -> Tensor:
        """Class of the largest logit, [samples]."""
        return self.logits.argmax(0)
