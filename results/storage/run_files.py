"""Files of a run, opened as data: the run, with its names and its links, may come from a stranger.

Invariant: every file of a run is opened here, or written in ``atomic.py``. No link is followed out of a run, and
nothing but a regular file of a plausible size is read.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lossearch.primitives.errors import UserError, shown
from lossearch.results.records import LOSS_ID

#: Largest sizes of a run's files, in bytes. The largest real ones have a tenth of them.
MAX_DECLARATION = 2**18  #: fifty times the largest shipped one
MAX_STATE = 2**25  #: a checkpoint: JSON takes up to thirty times its size in memory
MAX_ARCHIVE = 2**28  #: of a checkpoint: 110 bytes for each candidate
MAX_SUMMARY = 2**22  #: of workers
MAX_LOG = 2**28
MAX_LINE = 2**20  #: of a log, an archive or a journal
MAX_JOURNAL = 2**28  #: of Optuna's studies
MAX_PARQUET = 2**29
MAX_CHECKPOINT = 2**33  #: of a training: weights and velocities of a network

#: Folders that a run may hold.
FOLDERS = frozenset(
    {
        *("evaluations", "measurements", "checkpoint", "tuning", "random_search", "verdict", "explanation"),
        *("observation", "tensorboard"),
    }
)

#: Folders of a run that hold a folder for each loss or scene.
FOLDERS_OF_FOLDERS = frozenset({"verdict", "explanation", "observation"})

#: Errors of opening what is no file: a link (on BSD the second), a socket or a pipe without reader, a directory.
NOT_A_FILE = frozenset({errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR})

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class ForeignFile(UserError):
    """Something in a run that lossearch neither writes nor opens; the message names it."""


def shown_path(path: Path) -> str:
    """Return a path in printable characters, for a message."""
    return shown(str(path), limit=1_000)


def plain_name(name: str) -> str:
    """Return the name of a folder or file of a loss. Raises ForeignFile unless it has the form of an id."""
    if not re.fullmatch(LOSS_ID, name):
        raise ForeignFile(f"Expected an id of letters, digits, -, _ and points, 128 at most, got {shown(name)!r}.")
    return name


def refuse_linked_folders(path: Path) -> None:
    """Raise ForeignFile if a folder of a run above the path is a symbolic link, and could lead out of the run.

    The run itself may be one: a user named it.
    """
    for folder in path.parents:
        if folder.name not in FOLDERS and folder.parent.name not in FOLDERS_OF_FOLDERS:
            return
        if folder.is_symlink():
            raise ForeignFile(_describe_foreign(folder, "a folder", "a symbolic link"))


def make_folder(path: Path) -> None:
    """Make a folder of a run, if it does not exist. Raises ForeignFile for a symbolic link."""
    refuse_linked_folders(path / "file")
    path.mkdir(parents=True, exist_ok=True)


def open_run_file(path: Path, max_bytes: int) -> BinaryIO:
    """Open a file of a run for reading.

    Raises FileNotFoundError, ForeignFile for anything but a regular file of at most ``max_bytes``, and OSError.
    """
    refuse_linked_folders(path)
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in NOT_A_FILE:
            raise ForeignFile(_describe_foreign(path, "a file", _kind_of(path.lstat().st_mode))) from None
        raise
    try:
        require_regular(descriptor, path)
        require_size(path, os.fstat(descriptor).st_size, max_bytes)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require_regular(descriptor: int, path: Path) -> None:
    """Raise ForeignFile unless an open file is a regular one."""
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        raise ForeignFile(_describe_foreign(path, "a file", _kind_of(mode)))


def require_size(path: Path, size: int, max_bytes: int) -> None:
    """Raise ForeignFile for a file of more than ``max_bytes``."""
    if size > max_bytes:
        raise ForeignFile(f"{shown_path(path)}: expected at most {max_bytes:,} bytes, got {size:,}.")


def read_run_file(path: Path, max_bytes: int) -> bytes:
    """Read a file of a run. Raises as ``open_run_file`` does."""
    with open_run_file(path, max_bytes) as file:
        # Reading up to max_bytes would take a buffer of that size.
        content = file.read(min(os.fstat(file.fileno()).st_size, max_bytes) + 1)
    require_size(path, len(content), max_bytes)  # it may have grown
    return content


def logged_events(log: Path, *names: str, key: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the events of ``log.jsonl`` in their order; no file has no events.

    With names or a key, only events that have one of these names, or this key.
    Lines that are no JSON object are skipped: the last one may have been cut off. Raises ForeignFile.
    """
    wanted = [json.dumps(text).encode() for text in (*names, *([] if key is None else [key]))]
    try:
        file = open_run_file(log, MAX_LOG)
    except FileNotFoundError:
        return
    with file:
        while line := file.readline(MAX_LINE):
            if wanted and not any(name in line for name in wanted):
                continue  # to parse a line takes ten times as long
            try:
                event = json.loads(line.decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict) and (event.get("event") in names or key in event or not wanted):
                yield event


def _kind_of(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def _describe_foreign(path: Path, expected: str, got: str) -> str:
    advice = "Put the file or folder itself there" if got == "a symbolic link" else "Move it away"
    return f"{shown_path(path)}: expected {expected} in the run, got {got}, which is not opened. {advice}."
