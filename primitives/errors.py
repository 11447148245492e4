"""UserError and the texts of its messages: what was expected, what was given, what to do."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in what the user gave. The message is enough: no traceback is shown."""


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Raise ValueError and TypeError, as checks that need torch alone raise them, as a UserError."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a clause that suggests up to three known names like ``name``. It lists all names if none is like it."""
    names = sorted(map(str, known))
    by_lower_case = {known_name.lower(): known_name for known_name in names}
    matches = get_close_matches(name[:80].lower(), by_lower_case, n=3, cutoff=0.6)
    close = [by_lower_case[match] for match in matches]
    if close:
        return f"; did you mean {' or '.join(map(shown, close))}?"
    return f"; known: {', '.join(map(shown, names))}"


def shown(text: str, limit: int = 60) -> str:
    """Return the text in printable ASCII, cut to ``limit`` characters, for a message about text from strangers."""
    plain = text[:limit].encode("unicode_escape").decode("ascii")[:limit]
    return plain if len(text) <= limit and len(plain) < limit else f"{plain}..."
