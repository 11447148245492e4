"""Versions of Python and of the packages that are installed for this process."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

#: Packages whose versions must agree on every node of a cluster.
DECISIVE = ("lossearch", "torch", "ray")


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the version of each of these packages; those that are not installed are left out."""
    versions_by_name = {}
    for name in names:
        try:
            versions_by_name[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions_by_name


def versions() -> dict[str, str]:
    """Return the versions of Python and of each decisive package; "missing" for one that is not installed."""
    return {"python": platform.python_version()} | dict.fromkeys(DECISIVE, "missing") | installed(DECISIVE)
