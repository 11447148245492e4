"""Where downloaded and prepared data lies: below $LOSSEARCH_DATA, or ~/.cache/lossearch."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lossearch.primitives.errors import UserError, shown


class DataMissing(UserError):
    """Data that is not on this machine, or not whole; the message names the command or the page that provides it."""


def data_home() -> Path:
    """The directory that everything lies below."""
    return Path(os.environ.get("LOSSEARCH_DATA") or "~/.cache/lossearch").expanduser().absolute()


def raw_folder(name: str) -> Path:
    """Where the files of a data set are put as they were published."""
    return data_home() / "raw" / name


def prepared_home() -> Path:
    """Where prepared data lies."""
    return data_home() / "prepared"


def is_there(folder: Path) -> bool:
    """Whether a folder is there with anything in it that is not hidden."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def place(path: Path) -> str:
    """A path in a form that a message can hold."""
    return shown(str(path), 300)


# --- The state of files, by which is told whether what was read from them is still what they hold.


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
