"""Outcome: what became of one candidate in training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Under each seed a fitness in [0, 1], or the reason why there is none, and the factor of the calibration."""

    calibration: float | None
    fitness: list[float | None]
    reasons: list[str | None]


def failed(reason: str, seeds: int) -> Outcome:
    """No training was finished, for one reason."""
    return Outcome(None, [None] * seeds, [reason] * seeds)
