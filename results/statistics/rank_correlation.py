"""Rank correlation: Kendall's tau-b, and its interval by a bootstrap over the ranked things.

tau-b is the number of concordant pairs less that of discordant pairs, over the geometric mean of the numbers of pairs
that the first and the second ranking do not tie. Source: Kendall, "The treatment of ties in ranking problems",
Biometrika 33, 1945.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossearch.results.statistics.intervals import FEWEST_FOR_INTERVAL

#: Number of resamples of the bootstrap.
RESAMPLES = 2_000

Values = NDArray[np.float64]


def tau_b(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return tau-b of two rankings of the same things, in [-1, 1]; None if one of them ties everything."""
    (tau,) = _weighted_tau_b(first, second, np.ones((1, len(first))))
    return None if np.isnan(tau) else float(tau)


def tau_b_interval(
    first: Sequence[float],
    second: Sequence[float],
    generator: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of tau-b, over things resampled with replacement.

    Resamples that tie everything are left out. None if all of them do, or for fewer than three things.
    """
    count = len(first)
    if count < FEWEST_FOR_INTERVAL:
        return None
    drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES).astype(np.float64)
    taus = _weighted_tau_b(first, second, drawn)
    taus = taus[~np.isnan(taus)]
    if not len(taus):
        return None
    low, high = np.quantile(taus, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return float(low), float(high)


def _weighted_tau_b(first: Sequence[float], second: Sequence[float], counts: Values) -> Values:
    """Return tau-b of each resample, [resamples]; ``counts`` says how often it holds each thing, [resamples, things].

    A thing ties with its copies in both rankings, so such pairs are in none of the three sums.
    """
    ours, theirs = _signs(first), _signs(second)
    agreeing, untied, untied_too = (_pairs(of_pairs, counts) for of_pairs in (ours * theirs, ours**2, theirs**2))
    with np.errstate(invalid="ignore"):
        return np.asarray(agreeing / np.sqrt(untied * untied_too), np.float64)


def _signs(values: Sequence[float]) -> Values:
    """Return 1, -1 or 0 where the first of two things ranks higher, lower or alike, [things, things]."""
    ranked = np.asarray(values, np.float64)
    return (ranked[:, None] > ranked).astype(np.float64) - (ranked[:, None] < ranked)


def _pairs(of_pairs: Values, counts: Values) -> Values:
    """Return the sum over the pairs of each resample, [resamples]; ``of_pairs`` is [things, things]."""
    return np.asarray(((counts @ of_pairs) * counts).sum(1), np.float64)
