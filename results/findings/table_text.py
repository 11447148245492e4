"""Text of table cells: Markdown code that hides what it quotes, and numbers that are empty where there is no value."""

from lossearch.results.statistics.intervals import FEWEST_FOR_INTERVAL, interval_text, too_few_for_interval


def code(text: str) -> str:
    """Return the text as Markdown code. Characters that would end the code or start HTML become question marks."""
    plain = "".join(character if character.isprintable() and character not in "`|<>" else "?" for character in text)
    return f"`{plain}`" if plain.strip() else "(none)"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, which is plural unless the number is 1."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


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
    return (interval_text(low, high) if seeds >= FEWEST_FOR_INTERVAL else "") or too_few_for_interval(seeds)


def in_words(interval: str) -> str:
    """Return the text of ``interval_of`` for a sentence."""
    return interval if "no interval" in interval else f"95 % interval {interval}"


def with_deviation(value: float | None, deviation: float | None, seeds: int, plus_minus: str) -> str:
    """Return a mean with its standard deviation over the seeds; alone for fewer than three seeds."""
    is_known = value is not None and deviation is not None and seeds >= FEWEST_FOR_INTERVAL
    return rounded(value) + (f"{plus_minus}{deviation:.4f}" if is_known else "")


class PairedDifference:
    """The text of a difference that was tested: a base of records."""

    difference: float | None
    low: float | None
    high: float | None
    seeds: int

    @property
    def interval(self) -> str:
        """The interval of the difference as text, or why there is none; nothing without a difference."""
        return interval_of(self.difference, self.low, self.high, self.seeds)
