"""The path of a run that somebody gave: what to say where there is none."""

from pathlib import Path

from lossearch.primitives.errors import nearest


def no_run_at(path: Path, lacks: str) -> str:
    """That a path is no run's directory: it is none at all, and which are near, or what it ``lacks``."""
    expected = f"{path}: expected the directory of a run"
    if path.is_dir():
        return f"{expected}, with {lacks} in it"
    if path.exists():
        return f"{expected}, got a file"
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    near = nearest(path.name, (each.name for each in beside if each.is_dir()))
    return f"{expected}, got no such directory{near if 'did you mean' in near else ''}"
