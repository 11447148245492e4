"""Standard output and error that outlive their readers: a search goes on when a pipe or a terminal closes."""

import errno
import io
import os
import sys
from typing import Any

#: Error numbers of a pipe or a terminal that nobody reads any more.
_UNREAD = frozenset({errno.EPIPE, errno.EIO})


class _EnduringFile(io.FileIO):
    """A file that drops what is written once nobody reads it. Messages are also dropped where no disk holds them."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _UNREAD and self.fileno() != 2:
                raise
            return memoryview(data).nbytes


def make_enduring() -> None:
    """Replace standard output and error of this process. One that is closed goes nowhere.

    A character that the terminal lacks is replaced.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next file opened would take its place
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout, sys.stderr = _wrap(sys.stdout, 1), _wrap(sys.stderr, 2)


def flush_output() -> bool:
    """Write what standard output still holds. If that is impossible, drop it and return False."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the end of the process would try again
        return False
    return True


def _wrap(stream: object, descriptor: int) -> io.TextIOWrapper:
    encoding = stream.encoding if isinstance(stream, io.TextIOWrapper) else "utf-8"
    buffer = io.BufferedWriter(_EnduringFile(descriptor, "wb", closefd=False))
    return io.TextIOWrapper(buffer, encoding, errors="replace", line_buffering=descriptor == 2 or os.isatty(descriptor))
