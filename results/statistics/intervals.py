"""Means, spreads and intervals of paired trainings.

Two losses under one seed start from the same weights and see the same batches, so their difference is paired.
"""

import math
import statistics
from collections.abc import Iterable, Mapping


def mean(values: Iterable[float]) -> float:
    """Return the arithmetic mean, rounded once."""
    return statistics.fmean(values)


def spread(values: Iterable[float]) -> float | None:
    """Return the standard deviation of a sample; None for fewer than two values."""
    values = list(values)
    return statistics.stdev(values) if len(values) > 1 else None


def interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float] | None:
    """Return Student's confidence interval of the mean of a normal sample; None for fewer than two values."""
    values = list(values)
    deviation = spread(values)
    if deviation is None:
        return None
    return interval_of_mean(mean(values), standard_error(deviation, len(values)), len(values), level)


def interval_of_mean(center: float, error: float, samples: int, level: float = 0.95) -> tuple[float, float]:
    """Return Student's confidence interval of a mean, from its standard error and the number of samples, 2 or more."""
    from scipy.special import stdtrit  # takes a while to import

    half = float(stdtrit(samples - 1, 0.5 + level / 2.0)) * error
    return center - half, center + half


def standard_error(deviation: float, samples: float) -> float:
    """Return the standard error of a mean, from the standard deviation and the number of its samples."""
    return deviation / math.sqrt(samples)


def shows_a_difference(difference: float, error: float) -> bool:
    """Return True if a mean difference is larger than two of its standard errors."""
    return abs(difference) > 2.0 * error


def paired_differences(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Return the differences of the values that share a seed, in the order of the seeds."""
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def noise_of_a_difference(samples: Iterable[list[float]]) -> float | None:
    """Return the standard error of one mean difference, pooled over many losses compared under few seeds each.

    It is the root of the pooled variance over the mean number of seeds. None if no sample has two values.
    """
    usable = [sample for sample in samples if len(sample) > 1]
    if not usable:
        return None
    freedom = sum(len(sample) - 1 for sample in usable)
    pooled = sum(statistics.variance(sample) * (len(sample) - 1) for sample in usable) / freedom
    return math.sqrt(pooled / mean(len(sample) for sample in usable))
