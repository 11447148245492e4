"""UserError: what a user can mend, said in one sentence with expected, got and what to do."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in what the user gave; the message needs no traceback."""


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Raise what torch-only checks say, plain ValueErrors and TypeErrors, as a UserError."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from None


# --- The nearest known names to one that is not known, and text of strangers in a form that a message can hold.


def nearest(name: str, known: Iterable[str]) -> str:
    """Clause that suggests up to three known names like ``name``, or lists them all where none is near."""
    names = sorted(map(str, known))
    lower = {each.lower(): each for each in names}
    close = [lower[each] for each in get_close_matches(name[:80].lower(), lower, n=3, cutoff=0.6)]
    if close:
        return f"; did you mean {' or '.join(map(shown, close))}?"
    return f"; known: {', '.join(map(shown, names))}"


def shown(text: str, limit: int = 60) -> str:
    """The text in printable ASCII, cut to a length that a message can hold."""
    plain = text[:limit].encode("unicode_escape").decode("ascii")[:limit]
    return plain if len(text) <= limit and len(plain) < limit else f"{plain}..."
