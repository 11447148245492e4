"""Versions of what decides results, of the process that asks."""

import platform
from importlib.metadata import PackageNotFoundError, version

#: What must be the same on every node of a cluster.
DECISIVE = ("lossearch", "torch", "ray")


def versions() -> dict[str, str]:
    """The version of Python and of each decisive package; "missing" where one is not installed."""
    found = {"python": platform.python_version()}
    for name in DECISIVE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found
