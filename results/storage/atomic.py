"""Files that appear complete or not at all, also when the power is cut.

Invariant: an error of the disk names the file.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file's name to an OSError: the system names it on opening, but not on writing or syncing."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary file beside ``path``, sync the file and rename it to ``path``.

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
    """Write a text file as ``write_whole`` does."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def replace_text(path: Path, text: str) -> None:
    """Replace a text file of momentary state. It is always complete, but a power cut may bring the old text back."""
    temporary = path.with_name(f".{path.name}.writing")
    with naming(path):
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)


def append_at(path: Path, size: int, more: bytes) -> int:
    """Cut a file to a size, or create it, append to it and sync it. Return its new size.

    Bytes beyond the size are lost: a process that died appended them, and nothing refers to them yet.
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
    """Remove a file, if it exists, and sync its folder."""
    with naming(path):
        path.unlink(missing_ok=True)
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
