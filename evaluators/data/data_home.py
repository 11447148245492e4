"""Folders of downloaded and prepared data: below $LOSSEARCH_DATA, or ~/.cache/lossearch."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lossearch.primitives.errors import UserError, shown

#: Name, size in bytes and time of change (ns) of files.
FileState = list[tuple[str, int, int]]


class DataMissing(UserError):
    """Data that is missing or incomplete on this machine. The message names the command or page that provides it."""


def data_home() -> Path:
    """Return the directory that holds all downloaded and prepared data. Raises UserError if there is no home."""
    home = expand_path(os.environ.get("LOSSEARCH_DATA") or "~/.cache/lossearch")
    if home.parts[:1] == ("~",):  # as in a container whose user has no entry in the list of users
        raise UserError(
            "Expected a home directory for downloaded and prepared data, got none: HOME is not set. Set LOSSEARCH_DATA "
            "to a directory that can be written."
        )
    return home.absolute()


def expand_path(path: str | Path) -> Path:
    """Replace ~ by the home directory. Return a path unchanged if that is not known."""
    return Path(os.path.expanduser(path))  # pathlib raises RuntimeError for an unknown user


def raw_folder(name: str) -> Path:
    """Return the folder for the files of a data set as they were published."""
    return data_home() / "raw" / name


def prepared_home() -> Path:
    """Return the folder for prepared data."""
    return data_home() / "prepared"


def is_filled(folder: Path) -> bool:
    """Return True if the folder exists and holds anything that is not hidden."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def shown_path(path: Path) -> str:
    """Return the path in printable characters, cut to a length that fits a message."""
    return shown(str(path), 300)


def list_files(folder: Path, files: Iterable[Path] | None = None) -> FileState:
    """List name, size in bytes and time of change (ns) of ``files``, or of all files below ``folder``.

    Two equal lists are taken for equal contents: prepared data is reused as long as the list stays the same.
    """
    files = _walk_files(folder) if files is None else files
    stats = ((path, path.stat()) for path in files if path.exists())
    return sorted((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def _walk_files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder. Links to folders are followed, each folder once."""
    visited = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        yield from (Path(parent, name) for name in names)
