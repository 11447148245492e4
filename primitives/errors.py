"""UserError: what a user can mend, said in one sentence with expected, got and what to do."""


class UserError(ValueError):
    """A mistake in what the user gave; the message needs no traceback."""
