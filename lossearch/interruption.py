"""Interruption: knows whether the process was asked to stop, also where a library made an error of its own of it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interruption:
    """Whether SIGINT (Ctrl-C) or SIGTERM (a scheduler) arrived since the watch began."""

    seen: bool = False

    def explains(self, error: BaseException) -> bool:
        """Whether the error came of an interruption.

        A KeyboardInterrupt that strikes while an extension module is imported, for one, leaves it as an ImportError.
        """
        return self.seen or isinstance(error, KeyboardInterrupt)


@contextmanager
def watched_for_interruption() -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM, which both raise KeyboardInterrupt; outside the main thread nothing can be noted."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame: FrameType | None) -> None:
        interruption.seen = True
        raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
