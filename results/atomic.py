"""Files that appear whole or not at all, also when the power is cut."""

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it and rename it to ``path``.

    The temporary name starts with a dot and has another ending, so that no reader takes it for data.
    """
    temporary = path.with_name(f".{path.name}.writing")
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


def append_at(path: Path, size: int, more: bytes) -> int:
    """Cut a file to a size, or make it, and append to it for good; returns its new size.

    What a process that died had appended beyond the size is lost: it is what nothing refers to yet.
    """
    is_new = not path.exists()
    with open(path, "wb" if is_new else "r+b") as file:
        file.truncate(size)
        file.seek(size)
        file.write(more)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        _sync(path.parent)
    return size + len(more)


def remove(path: Path) -> None:
    """Remove a file for good, if it is there."""
    path.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
