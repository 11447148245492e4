"""The recorder of a run: it takes records in and writes them to the run's store from time to time.

Invariant: no record is recorded twice. ``save`` writes everything that the store lacks. A forgotten record leaves only
its identity in memory, so that long runs take little memory.
"""

import time
from collections.abc import Callable, Iterable
from typing import Generic

from lossearch.results.storage.store import Damage, Record, RecordStore

#: Smallest number of seconds between two parts, unless the caller saves one.
PART_INTERVAL = 5.0


class Recorder(Generic[Record]):
    """Takes records in and appends them to a store; ``identity`` returns the identity of a record."""

    def __init__(self, store: RecordStore[Record], identity: Callable[[Record], str]) -> None:
        self._store, self._identity = store, identity
        self.recorded: set[str] = set()  #: identities of all records
        self.known: dict[str, Record] = {}  #: records that are not forgotten by identity, in the order recorded
        #: Number of the next part, None until it is chosen, and its records.
        self._part: tuple[int | None, list[Record]] = (None, [])
        self._saved_at = time.monotonic()

    def restore(self, before_setting_aside: Callable[[], None] = lambda: None) -> list[tuple[str, Damage]]:
        """Take in the records of the store. Return the damaged parts, each with the name it was set aside under.

        ``before_setting_aside`` is called before a damaged part is renamed, so that a stop in between does not hide
        the lost work.
        """
        records, damages = self._store.read()
        self.known = {self._identity(record): record for record in records}
        self.recorded = set(self.known)
        if damages:
            before_setting_aside()
        return [(self._store.set_aside(damage).name, damage) for damage in damages]

    def record(self, records: Iterable[Record]) -> list[Record]:
        """Take in the records that are new, and return them."""
        new = {self._identity(record): record for record in records if self._identity(record) not in self.recorded}
        self._part[1].extend(new.values())  # first, so that an interruption after this line loses nothing
        self.known.update(new)
        self.recorded.update(new)  # in place: |= would copy the whole set
        return list(new.values())

    def forget(self, is_over: Callable[[Record], bool] = lambda _: True) -> None:
        """Forget the records that are over, but keep their identities."""
        self.known = {identity: record for identity, record in self.known.items() if not is_over(record)}

    @property
    def is_due(self) -> bool:
        """Return True if the last part is older than ``PART_INTERVAL``."""
        return time.monotonic() - self._saved_at > PART_INTERVAL

    def save(self) -> None:
        """Write the records that the store lacks.

        A part keeps its number until its write is complete: after an interruption the same part is written again,
        and no second one beside it.
        """
        number, records = self._part
        if records:
            number = self._store.next_part() if number is None else number
            self._part = number, records
            self._store.write(number, records)
            self._part = number + 1, []
        self._saved_at = time.monotonic()
