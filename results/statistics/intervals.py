"""Means, spreads and intervals of paired trainings, and the rule by which a difference is shown.

Two losses under one seed start from the same weights and see the same batches, so their difference is paired. A
difference is shown if its 95 % interval does not contain 0. The interval that is printed is the one that decides.

Student's interval, here, is for the few seeds of a search. Comparisons and verdicts take that of ``paired_tests``.
"""

import math
import statistics
from collections.abc import Iterable, Mapping

#: Smallest number of values for an interval. Two are often equal or nearly so by chance: accuracies are whole numbers
#: of samples.
FEWEST_FOR_INTERVAL = 3

#: What is nearer to 0 is 0 but for rounding. Such a standard deviation is that of equal values: it says nothing about
#: other seeds.
_ROUNDING = 1e-12

_NUMERALS = {1: "one", 2: "two"}


def mean(values: Iterable[float]) -> float:
    """Return the arithmetic mean, rounded once."""
    return statistics.fmean(values)


def spread(values: Iterable[float]) -> float | None:
    """Return the standard deviation of a sample; None for fewer than two values."""
    values = list(values)
    return statistics.stdev(values) if len(values) > 1 else None


def interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float] | None:
    """Return Student's confidence interval of the mean of a normal sample.

    None for fewer than three values, and for equal ones, whose spread says nothing.
    """
    values = list(values)
    return interval_of_mean(mean(values), spread(values), len(values), level) if values else None


def interval_of_mean(
    center: float, deviation: float | None, samples: int, level: float = 0.95
) -> tuple[float, float] | None:
    """Return Student's confidence interval of a mean, from the standard deviation and the number of its samples.

    None for fewer than three samples, and for equal ones, whose spread says nothing.
    """
    if samples < FEWEST_FOR_INTERVAL or deviation is None or deviation < _ROUNDING:
        return None
    from scipy.special import stdtrit  # takes a while to import

    half = float(stdtrit(samples - 1, 0.5 + level / 2.0)) * standard_error(deviation, samples)
    return center - half, center + half


def standard_error(deviation: float, samples: float) -> float:
    """Return the standard error of a mean, from the standard deviation and the number of its samples."""
    return deviation / math.sqrt(samples)


def contains_zero(low: float, high: float) -> bool:
    """Return True if an interval contains 0: no difference is shown."""
    return low <= _ROUNDING and high >= -_ROUNDING


def interval_text(low: float | None, high: float | None) -> str:
    """Return an interval as text, or nothing where one end is missing."""
    return "" if low is None or high is None else f"{_end_text(low)} to {_end_text(high)}"


def _end_text(end: float) -> str:
    """Return an end with four digits, or with one that counts if it would be shown as 0 and is not."""
    end = 0.0 if abs(end) <= _ROUNDING else end
    text = f"{end:+.4f}"
    return text if end == 0.0 or float(text) else f"{end:+.0e}"


def lacks_interval(samples: int, noun: str = "seed") -> str:
    """Say why Student's interval is missing: "two seeds: no interval", or that all values are equal."""
    if samples < FEWEST_FOR_INTERVAL:
        return too_few_for_interval(samples, noun)
    return f"no interval: equal under all {samples} {noun}s"


def too_few_for_interval(samples: int, noun: str = "seed") -> str:
    """Say that so few samples have no interval: "two seeds: no interval"."""
    return f"{_NUMERALS.get(samples, samples or 'no')} {noun}{'' if samples == 1 else 's'}: no interval"


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
