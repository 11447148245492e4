"""Provenance of a run: when it started, and the versions of the code that it ran on."""

import platform
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from lossearch.evaluators.versions import installed

#: Packages whose versions a run records.
_VERSIONED = ("lossearch", "torch", "numpy", "sympy", "deap", "ray", "pyarrow", "scikit-learn")


def collect_provenance(started: datetime) -> dict[str, Any]:
    """Collect when a run started, and the versions of what it ran on."""
    facts: dict[str, Any] = {
        "started": started.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": installed(_VERSIONED),
    }
    commit = _read_git_commit()
    return facts | ({"git_commit": commit} if commit else {})


def _read_git_commit() -> str | None:
    """Return the git commit of the code; None if it does not lie in a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 5, "check": True}
    try:
        # An installation may lie in a repository of the user's, which does not track it.
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], **options)
        return str(subprocess.run([*git, "rev-parse", "HEAD"], **options).stdout).strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
