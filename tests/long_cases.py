"""Cases of a test that `make test` runs, and long ones that only `make test-all` runs."""

import pytest

#: Under this key pytest's configuration keeps the names of tests all of whose cases are long.
ALWAYS_LONG = pytest.StashKey[set[str]]()


def long_unless(cases, short):
    """Return the cases as parameters of a test. Those for which `short` does not hold are marked long.

    `short` is a collection of cases or a predicate. A case that is a tuple gives several parameters.
    """
    is_short = short if callable(short) else lambda case: case in short
    parameters = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        parameters.append(pytest.param(*values, marks=() if is_short(case) else pytest.mark.long))
    return parameters
