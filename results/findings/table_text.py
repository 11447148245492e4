"""Text of table cells: Markdown code that hides what it quotes, and numbers that are empty where there is no value."""

from collections.abc import Iterable

from lossearch.results.statistics.intervals import FEWEST_FOR_INTERVAL, contains_zero, interval_text, lacks_interval

#: Mark of a verdict that the corrected p decided, not the interval beside it, and what it means.
BY_P = "(by p)"
BY_P_MEANS = f"{BY_P}: the interval has no 0, but p, corrected for the number of losses compared, is 0.05 or more."


def code(text: str) -> str:
    """Return the text as Markdown code. Characters that would end the code or start HTML become question marks."""
    plain = "".join(character if character.isprintable() and character not in "`|<>" else "?" for character in text)
    return f"`{plain}`" if plain.strip() else "(none)"


def rounded(value: float | None) -> str:
    """Return a value with four digits, or nothing."""
    return "" if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    """Return a difference with its sign and four digits, or nothing."""
    return "" if value is None else f"{value:+.4f}"


def interval_of(difference: float | None, low: float | None, high: float | None, seeds: int) -> str:
    """Return the interval of a difference as text, or why there is none; nothing without a difference.

    Old files may hold an interval of two seeds. It is not shown.
    """
    if difference is None:
        return ""
    return (interval_text(low, high) if seeds >= FEWEST_FOR_INTERVAL else "") or lacks_interval(seeds)


def in_words(interval: str) -> str:
    """Return the text of ``interval_of`` for a sentence."""
    return interval if "no interval" in interval else f"95 % interval {interval}"


def with_deviation(value: float | None, deviation: float | None, seeds: int, plus_minus: str) -> str:
    """Return a mean with its standard deviation over the seeds; alone for fewer than three seeds."""
    is_known = value is not None and deviation is not None and seeds >= FEWEST_FOR_INTERVAL
    return rounded(value) + (f"{plus_minus}{deviation:.4f}" if is_known else "")


def outcome_text(verdict: str, low: float | None, high: float | None) -> str:
    """Return a verdict, and say so if p decided it against the interval that is printed beside it."""
    return f"{verdict} {BY_P}" if is_by_p(verdict, low, high) else verdict


def is_by_p(verdict: str, low: float | None, high: float | None) -> bool:
    """Return True if no difference is shown although the interval has no 0: the corrected p is too large."""
    has_no_zero = low is not None and high is not None and not contains_zero(low, high)
    return verdict == "no difference shown" and has_no_zero


def explain_by_p(judged: Iterable[tuple[str, float | None, float | None]]) -> str | None:
    """Explain the mark ``BY_P`` if one of the verdicts, each with its interval, has it."""
    return BY_P_MEANS if any(is_by_p(*verdict) for verdict in judged) else None


class WordedDifference:
    """The words for a verdict on a difference, which agree with the interval beside it: a base of records."""

    verdict: str
    difference: float | None
    low: float | None
    high: float | None
    seeds: int

    @property
    def outcome(self) -> str:
        """The verdict in words that agree with the interval beside it."""
        return outcome_text(self.verdict, self.low, self.high)

    @property
    def interval(self) -> str:
        """The interval of the difference as text, or why there is none; nothing without a difference."""
        return interval_of(self.difference, self.low, self.high, self.seeds)
