"""Statistics of paired trainings: two losses under one seed started alike and saw the same batches."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean."""
    return statistics.fmean(values)


def spread(values: Iterable[float]) -> float | None:
    """Standard deviation of a sample; None for fewer than two values."""
    values = list(values)
    return statistics.stdev(values) if len(values) > 1 else None


def interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's confidence interval of the mean of a normal sample; None for fewer than two values."""
    values = list(values)
    deviation = spread(values)
    if deviation is None:
        return None
    return interval_of_mean(mean(values), standard_error(deviation, len(values)), len(values), level)


def interval_of_mean(center: float, error: float, samples: int, level: float = 0.95) -> tuple[float, float]:
    """Student's confidence interval of a mean from its standard error and how many samples it is of, 2 or more."""
    half = float(stdtrit(samples - 1, 0.5 + level / 2.0)) * error
    return center - half, center + half


def standard_error(deviation: float, samples: float) -> float:
    """Standard error of a mean, from the standard deviation of its samples."""
    return deviation / math.sqrt(samples)


def shows_a_difference(difference: float, error: float) -> bool:
    """Whether a mean difference is larger than two of its standard errors."""
    return abs(difference) > 2.0 * error


def paired_differences(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Differences of the values that share a seed, in the order of the seeds."""
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def noise_of_a_difference(samples: Iterable[list[float]]) -> float | None:
    """Standard error of one mean difference, pooled over many losses that were each compared under few seeds.

    The root of the pooled variance over the mean number of seeds; None where no sample has two values.
    """
    usable = [sample for sample in samples if len(sample) > 1]
    if not usable:
        return None
    freedom = sum(len(sample) - 1 for sample in usable)
    pooled = sum(statistics.variance(sample) * (len(sample) - 1) for sample in usable) / freedom
    return math.sqrt(pooled / mean(len(sample) for sample in usable))


# --- Rank correlation: Kendall's tau-b, and its interval by a bootstrap over what is ranked.
#
# tau-b is Kendall's, "The treatment of ties in ranking problems", Biometrika 33, 1945: concordant pairs less
# discordant ones, over the geometric mean of the pairs that either ranking does not tie.

#: Resamples of a bootstrap.
RESAMPLES = 2_000


Values = NDArray[np.float64]


def tau_b(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of two rankings of the same things, in [-1, 1]; None where one of them ties everything."""
    (tau,) = _weighted_tau_b(first, second, np.ones((1, len(first))))
    return None if np.isnan(tau) else float(tau)


def tau_b_interval(
    first: Sequence[float],
    second: Sequence[float],
    generator: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """The percentile bootstrap interval of tau-b, over things drawn anew with replacement.

    Draws that tie everything are left out; None where all of them do, or where there is nothing to rank.
    """
    count = len(first)
    if count < 2:
        return None
    drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES).astype(np.float64)
    found = _weighted_tau_b(first, second, drawn)
    found = found[~np.isnan(found)]
    if not len(found):
        return None
    low, high = np.quantile(found, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return float(low), float(high)


def _weighted_tau_b(first: Sequence[float], second: Sequence[float], counts: Values) -> Values:
    """tau-b where each thing stands as often as a row of counts says, [rows, things] -> [rows].

    A thing ties with its copies in both rankings, and such pairs are in none of the three sums.
    """
    ours, theirs = _signs(first), _signs(second)
    agreeing, untied, untied_too = (_pairs(each, counts) for each in (ours * theirs, ours**2, theirs**2))
    with np.errstate(invalid="ignore"):
        return np.asarray(agreeing / np.sqrt(untied * untied_too), np.float64)


def _signs(values: Sequence[float]) -> Values:
    """Whether the first of two is ranked higher, lower or alike, [things, things] of 1, -1 and 0."""
    ranked = np.asarray(values, np.float64)
    return (ranked[:, None] > ranked).astype(np.float64) - (ranked[:, None] < ranked)


def _pairs(of_pairs: Values, counts: Values) -> Values:
    """The sum over pairs, each as often as both of its things stand there, [rows]."""
    return np.asarray(((counts @ of_pairs) * counts).sum(1), np.float64)
