"""Recorder: which records a run has, those of them that may be asked for, and those that its store does not have yet.

Invariant: what was recorded is not recorded again; parts are written from time to time, and wherever ``save`` is
called. A record that nobody will ask for is forgotten but for its identity, so that long runs take little memory.
"""

import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from lossearch.results.records import Evaluation, Measurement
from lossearch.results.store import Damage, RecordStore

#: Seconds between parts, at least, where nobody asks for one.
PART_INTERVAL = 5.0

Record = TypeVar("Record", bound=Evaluation | Measurement)


class Recorder(Generic[Record]):
    """Takes records in and appends them to a store; ``identity`` tells them apart."""

    def __init__(self, store: RecordStore[Record], identity: Callable[[Record], str]) -> None:
        self._store, self._identity = store, identity
        self.recorded: set[str] = set()  #: identities of all
        self.known: dict[str, Record] = {}  #: by identity, in the order of recording: those that are not forgotten
        self._part: tuple[int | None, list[Record]] = None, []  # the next one's number, once it is chosen, and records
        self._saved_at = time.monotonic()

    def restore(self, before_setting_aside: Callable[[], None] = lambda: None) -> list[tuple[str, Damage]]:
        """Take in what the store has; returns the parts that cannot be read, each with the name it was set aside by.

        ``before_setting_aside`` is called where there are some: a stop from then on must not hide the lost work.
        """
        found, damages = self._store.read()
        self.known = {self._identity(each): each for each in found}
        self.recorded = set(self.known)
        if damages:
            before_setting_aside()
        return [(self._store.set_aside(damage).name, damage) for damage in damages]

    def record(self, records: Iterable[Record]) -> list[Record]:
        """Take in those that were not recorded yet, and return them."""
        new = {self._identity(each): each for each in records if self._identity(each) not in self.recorded}
        self._part[1].extend(new.values())  # first: what an interruption leaves unmarked is saved all the same
        self.known.update(new)
        self.recorded.update(new)  # in place: |= would copy all of them
        return list(new.values())

    def forget(self, is_over: Callable[[Record], bool] = lambda _: True) -> None:
        """Keep of records that are over their identities alone."""
        self.known = {identity: each for identity, each in self.known.items() if not is_over(each)}

    @property
    def is_due(self) -> bool:
        """Whether the last part is some time ago."""
        return time.monotonic() - self._saved_at > PART_INTERVAL

    def save(self) -> None:
        """Write what the store does not have yet.

        A part keeps its number until it is written for good: where that was interrupted, it is written again and not
        a second one beside it.
        """
        number, records = self._part
        if records:
            number = self._store.next_part() if number is None else number
            self._part = number, records
            self._store.write(number, records)
            self._part = number + 1, []
        self._saved_at = time.monotonic()
