"""Files that appear complete or not at all, also when the power is cut.

Invariant: an error of the disk names the file. Nothing is written through a link: a file is created under a name that
nobody can predict, or it is opened without following links.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lossearch.results.storage.run_files import (
    MAX_LOG,
    NOT_A_FILE,
    open_run_file,
    read_run_file,
    refuse_linked_folders,
    require_regular,
)

#: Ending of files that are not complete yet. Their names begin with a dot, so that no reader takes them for data.
UNFINISHED = ".writing"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file's name to an OSError: the system names it on opening, but not on writing or syncing."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_whole(path: Path, content: bytes, *, typed: bool = False) -> None:
    """Write a new file beside ``path``, sync it and rename it to ``path``.

    Raises ForeignFile if a folder of the run is a link, unless the user has ``typed`` the path.
    """
    if not typed:
        refuse_linked_folders(path)
    _replace(path, content, is_lasting=True)


def write_whole_text(path: Path, text: str, *, typed: bool = False) -> None:
    """Write a text file as ``write_whole`` does."""
    write_whole(path, text.encode(), typed=typed)


def replace_text(path: Path, text: str) -> None:
    """Replace a text file of momentary state. It is always complete, but a power cut may bring the old text back."""
    refuse_linked_folders(path)
    _replace(path, text.encode(), is_lasting=False)


def is_unfinished(name: str, of: str = "") -> bool:
    """Return True for the name of a file that was not completed, of the file ``of`` or of any."""
    return name.startswith(f".{of}") and name.endswith(UNFINISHED)


def _replace(path: Path, content: bytes, is_lasting: bool) -> None:
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}{UNFINISHED}")
    with naming(path):
        try:
            with _opened(temporary, os.O_CREAT | os.O_EXCL) as descriptor:
                _write(descriptor, content)
                if is_lasting:
                    os.fsync(descriptor)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        if is_lasting:
            _sync(path.parent)


def append_text(path: Path, text: str) -> None:
    """Append to a text file, or create it. Raises ForeignFile for anything but a regular file."""
    with naming(path), _opened_to_change(path, os.O_APPEND) as descriptor:
        _write(descriptor, text.encode())


def append_at(path: Path, size: int, more: bytes) -> int:
    """Cut a file to a size, or create it, append to it and sync it. Return its new size.

    Bytes beyond the size are lost: a process that died appended them, and nothing refers to them yet. Raises
    ForeignFile for anything but a regular file.
    """
    is_new = not path.exists()
    with naming(path), _opened_to_change(path) as descriptor:
        os.ftruncate(descriptor, size)
        os.lseek(descriptor, size, os.SEEK_SET)
        _write(descriptor, more)
        os.fsync(descriptor)
    if is_new:
        with naming(path):
            _sync(path.parent)
    return size + len(more)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open a file for writing, without following a link, and close it at the end."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _opened_to_change(path: Path, flags: int = 0) -> Iterator[int]:
    """Open a file for writing where it is, or create it."""
    refuse_linked_folders(path)
    _separate_hard_links(path)
    try:
        with _opened(path, os.O_CREAT | flags) as descriptor:
            require_regular(descriptor, path)
            yield descriptor
    except OSError as error:
        if error.errno in NOT_A_FILE:
            open_run_file(path, MAX_LOG).close()  # says what it is
        raise


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _separate_hard_links(path: Path) -> None:
    """Replace a file that has further names, perhaps outside the run, by a copy of its own."""
    try:
        is_shared = path.lstat().st_nlink > 1
    except FileNotFoundError:
        return
    if is_shared:
        write_whole(path, read_run_file(path, MAX_LOG))


def remove(path: Path) -> None:
    """Remove a file, if it exists, and sync its folder."""
    refuse_linked_folders(path)
    with naming(path):
        path.unlink(missing_ok=True)
        _sync(path.parent)


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be read, to a name that is free, and return its new path."""
    refuse_linked_folders(path)
    kept, number = path.with_name(f"{path.name}.damaged"), 1
    while os.path.lexists(kept):
        number += 1
        kept = path.with_name(f"{path.name}.damaged{number}")
    with naming(path):
        os.replace(path, kept)
    return kept


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
