"""Files that appear whole or not at all, also when the power is cut.

Invariant: an error about a disk names the file.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError name the file: the system names it where it is opened, and not where it is written or synced."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it and rename it to ``path``.

    The temporary name starts with a dot and has another ending, so that no reader takes it for data.
    """
    temporary = path.with_name(f".{path.name}.writing")
    with naming(path):
        try:
            write(temporary)
            _sync(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)


def write_whole_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def replace_text(path: Path, text: str) -> None:
    """Replace a text file that tells how things stand just now: whole, but not for good where the power is cut."""
    temporary = path.with_name(f".{path.name}.writing")
    with naming(path):
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)


def append_at(path: Path, size: int, more: bytes) -> int:
    """Cut a file to a size, or make it, and append to it for good; returns its new size.

    What a process that died had appended beyond the size is lost: it is what nothing refers to yet.
    """
    is_new = not path.exists()
    with naming(path), open(path, "wb" if is_new else "r+b") as file:
        file.truncate(size)
        file.seek(size)
        file.write(more)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        with naming(path):
            _sync(path.parent)
    return size + len(more)


def remove(path: Path) -> None:
    """Remove a file for good, if it is there."""
    with naming(path):
        path.unlink(missing_ok=True)
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
