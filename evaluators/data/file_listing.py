"""The state of files, by which is told whether what was read from them is still what they hold."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def listing(folder: Path, files: Iterable[Path] | None = None) -> list[tuple[str, int, int]]:
    """Name, bytes and time of change (ns) of these files, or of all below a folder: what decides their content."""
    files = _below(folder) if files is None else files
    stats = ((path, path.stat()) for path in files if path.exists())
    return sorted((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def _below(folder: Path) -> Iterator[Path]:
    """All files below a folder; linked folders are looked into, each once."""
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(parent, name) for name in names)
