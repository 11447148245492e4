"""Versions of what is installed where the process runs that asks."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

#: What must be the same on every node of a cluster.
DECISIVE = ("lossearch", "torch", "ray")


def installed(names: Iterable[str]) -> dict[str, str]:
    """The version of each of these packages that is installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def versions() -> dict[str, str]:
    """The version of Python and of each decisive package; "missing" where one is not installed."""
    return {"python": platform.python_version()} | dict.fromkeys(DECISIVE, "missing") | installed(DECISIVE)
