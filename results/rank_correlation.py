"""Rank correlation: Kendall's tau-b, and its interval by a bootstrap over what is ranked.

tau-b is Kendall's, "The treatment of ties in ranking problems", Biometrika 33, 1945: concordant pairs less discordant
ones, over the geometric mean of the pairs that either ranking does not tie.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
