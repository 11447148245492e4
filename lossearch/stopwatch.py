"""Stopwatch: where the time of a run goes, by what was done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds by the name of what was done; what is done within something else counts there alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[tuple[str, float]] = []  # names, and since when they count

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Count the time of a block."""
        now = time.monotonic()
        if self._open:
            outer, since = self._open[-1]
            self._add(outer, now - since)
        self._open.append((what, now))
        try:
            yield
        finally:
            now = time.monotonic()
            name, since = self._open.pop()
            self._add(name, now - since)
            if self._open:
                self._open[-1] = (self._open[-1][0], now)

    def _add(self, what: str, seconds: float) -> None:
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds

    def rounded(self) -> dict[str, float]:
        """The seconds, to a hundredth."""
        return {name: round(seconds, 2) for name, seconds in self.seconds.items()}
