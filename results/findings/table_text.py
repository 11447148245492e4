"""Text of table cells: Markdown code that hides what it quotes, and numbers that are empty where there is no value."""


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


def interval_text(low: float | None, high: float | None) -> str:
    """Return an interval as text, or nothing where one end is missing."""
    return "" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"
