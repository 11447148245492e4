"""Interruption: knows whether Ctrl-C was pressed, also where a library turned it into an error of its own."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interruption:
    """Whether SIGINT arrived since the watch began."""

    seen: bool = False

    def explains(self, error: BaseException) -> bool:
        """Whether the error came of an interruption.

        A KeyboardInterrupt that strikes while an extension module is imported, for one, leaves it as an ImportError.
        """
        return self.seen or isinstance(error, KeyboardInterrupt)


@contextmanager
def watched_for_interruption() -> Iterator[Interruption]:
    """Note SIGINT, which raises KeyboardInterrupt as ever; outside the main thread nothing can be noted."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame: FrameType | None) -> None:
        interruption.seen = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)
