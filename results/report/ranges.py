"""Ranges of axes: what matters fills a plot. What lies outside is counted, so that the page can say so."""

from collections.abc import Sequence
from dataclasses import dataclass

from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE

#: Fewest values that are cut: a plot of fewer shows all.
_FEWEST = 10

#: A plot reaches below the best by this many times its lead, and by this share of all values.
_LEADS, _SHARE = 4.0, 0.1


@dataclass(frozen=True)
class Range:
    """A range of an axis, with the values that lie below it."""

    low: float
    high: float
    below: Sequence[float] = ()

    @property
    def ends(self) -> list[float]:
        """The range as plotly takes it."""
        return [self.low, self.high]


def fitness_range(rows: Sequence[Row], chosen: Sequence[Row]) -> Range | None:
    """Return the range of the losses among which a reader chooses; None without losses with a fitness.

    It holds the chosen losses, cross-entropy and at most the better half of all.
    """
    ranked = [row for row in rows if row.rank is not None]
    values = sorted(row.fitness_mean for row in ranked if row.fitness_mean is not None)
    held = [row.fitness_mean for row in (*chosen, *ranked) if row in chosen or row.name == BASELINE]
    return _range(values, [value for value in held if value is not None])


def progress_range(best: Sequence[float | None], medians: Sequence[float | None], baseline: float | None) -> Range:
    """Return the range of the best losses of each generation and cross-entropy. Low medians lie below it."""
    held = [value for value in (*best, baseline) if value is not None]
    others = [value for value in medians if value is not None]
    return _range(sorted([*held, *others]), held, fewest=0) or Range(0.0, 1.0)


def late_range(courses: Sequence[Sequence[float]]) -> Range | None:
    """Return the range of some courses of training after their first quarter; None if they are empty."""
    late = [value for course in courses for value in course[len(course) // 4 :]]
    if not late:
        return None
    low, high = _with_room(min(late), max(late))
    return Range(low, high, [value for course in courses for value in course if value < low])


def _range(values: Sequence[float], held: Sequence[float], fewest: int = _FEWEST) -> Range | None:
    """Return the range of sorted values that holds all of ``held``, and what differs from the best about as much."""
    if not values:
        return None
    least, best = values[0], values[-1]
    base = min(held, default=best)
    if len(values) < fewest:
        return Range(*_with_room(least, best))
    reach = max(_LEADS * (best - base), _SHARE * (best - least))
    low, high = _with_room(min(base, max(values[len(values) // 2], best - reach)), best)
    return Range(low, high, [value for value in values if value < low])


def _with_room(low: float, high: float) -> tuple[float, float]:
    room = 0.07 * (high - low) or 0.01
    return low - room, high + room
