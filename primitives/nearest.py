"""The nearest known names to one that is not known, for error messages."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Clause that suggests up to three known names like ``name``, or lists them all where none is near."""
    names = sorted(known)
    lower = {each.lower(): each for each in names}
    close = [lower[each] for each in get_close_matches(name[:80].lower(), lower, n=3, cutoff=0.6)]
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known: {', '.join(names)}"
