"""Groups of array elements: the first of each, and their means, without a loop over the groups.

``groups`` is the group of each element, an index below ``count``.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Indices: of records, of groups, of distinct texts.
Places = NDArray[Any]
Flags = NDArray[np.bool_]

#: Elements of a group whose sum is taken by arrays; the few larger groups are summed one by one.
_FEW = 32


def first_of_each(groups: Places, count: int, among: Flags | None = None) -> Places:
    """Place of the first element of each group, among those that are marked; one past the last where there is none."""
    places = np.arange(len(groups)) if among is None else np.flatnonzero(among)
    found = np.full(count, len(groups))
    found[groups[places][::-1]] = places[::-1]  # of several values for one place, the last remains
    return found


def least_of_each(groups: Places, count: int, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The least value in each group, the greatest number there is where it has none."""
    found = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(found, groups, values)
    return found


def differs(*keys: NDArray[Any]) -> Flags:
    """Where a run of equal keys begins."""
    found = np.ones(len(keys[0]), dtype=bool)
    if len(found):
        found[1:] = False
        for key in keys:
            found[1:] |= key[1:] != key[:-1]
    return found


def means(values: NDArray[np.float64], starts: Places) -> NDArray[np.float64]:
    """Mean of each run of values that begins at one of the starts, equal to ``statistics.fmean`` to the last bit.

    The sum is kept in two numbers, whose error is taken up exactly (Knuth's TwoSum); where two do not hold it, it is
    taken by ``math.fsum``.
    """
    counts = np.diff(starts, append=len(values))
    total, rest, inexact = values[starts], np.zeros(len(starts)), counts > _FEW
    for number in range(1, min(int(counts.max(initial=0)), _FEW)):
        longer = np.flatnonzero(counts > number)
        total[longer], error = _two_sum(total[longer], values[starts[longer] + number])
        rest[longer], lost = _two_sum(rest[longer], error)
        inexact[longer] |= lost != 0.0
    total += rest
    for group in np.flatnonzero(inexact):
        total[group] = math.fsum(values[starts[group] : starts[group] + counts[group]])
    return total / counts


def _two_sum(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rounded sum and what rounding took from it."""
    total = a + b
    rounded = total - a
    return total, (a - (total - rounded)) + (b - rounded)
