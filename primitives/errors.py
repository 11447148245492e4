"""UserError: what a user can mend, said in one sentence with expected, got and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager


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
