"""The store of a run: a directory of Parquet files, its parts, to which one writer appends.

Invariant: a part under its final name is complete; nothing that was recorded is ever changed or removed. Parts are
written under a name that starts with a dot and does not end in .parquet, synced, and renamed.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import numpy as np

from lossearch.results.records import CLASS_WEIGHTS, METRICS, Evaluation, Measurement, Status
from lossearch.results.storage.columns import StoredRecords
from lossearch.results.storage.tables import DamagedFile, read_records, read_table, write_records

_READERS = 2  #: threads

Record = TypeVar("Record", bound=Evaluation | Measurement)


@dataclass(frozen=True)
class Damage:
    """One part that cannot be read."""

    path: Path
    reason: str


class RecordStore(Generic[Record]):
    """The records of a run: a directory of parts, ``000001.parquet`` and so on."""

    def __init__(self, directory: Path, record_type: type[Record]) -> None:
        self._directory, self._type = directory, record_type
        self._identity = fields(record_type)[0].name

    def append(self, records: Sequence[Record]) -> None:
        """Write one more part. Only the run's driver does."""
        if records:
            self.write(self.next_part(), records)

    def next_part(self) -> int:
        """The number of a part that was never there, also under the name of one that was set aside."""
        numbers = [int(path.name.split(".")[0]) for path in self._directory.glob("[0-9]*.parquet*")]
        return max(numbers, default=0) + 1

    def write(self, part: int, records: Sequence[Record]) -> None:
        """Write the part of a number, or write it again with more records. Only the run's driver does."""
        self._directory.mkdir(parents=True, exist_ok=True)
        write_records(self._directory / f"{part:06d}.parquet", self._type, records)

    def read(self) -> tuple[list[Record], list[Damage]]:
        """Every record once, in the order written, and the parts that cannot be read."""
        found, damages = self.open()
        return found.records(), damages

    def open(self) -> tuple[StoredRecords[Record], list[Damage]]:
        """Every record once, in the order written, as columns, and the parts that cannot be read."""
        paths = sorted(self._directory.glob("[0-9]*.parquet"))
        with ThreadPoolExecutor(_READERS) as readers:
            parts = list(readers.map(self._part, paths))
            found = self._joined(parts)
            readers.submit(found.texts, self._identity)  # the longest step, while the others are taken
            sound = are_sound(found)
        if not sound:
            parts = [self._checked(path, part) for path, part in zip(paths, parts, strict=True)]
            found = self._joined(parts)
        return found.once(), [each for each in parts if isinstance(each, Damage)]

    def _joined(self, parts: Iterable[StoredRecords[Record] | Damage]) -> StoredRecords[Record]:
        return StoredRecords.joined(self._type, [each for each in parts if not isinstance(each, Damage)])

    def _part(self, path: Path) -> StoredRecords[Record] | Damage:
        try:
            return StoredRecords(self._type, [read_table(path, self._type)])
        except DamagedFile as error:
            return Damage(path, str(error))

    def _checked(self, path: Path, part: StoredRecords[Record] | Damage) -> StoredRecords[Record] | Damage:
        """The part, or what is wrong with a record of it."""
        if isinstance(part, Damage) or are_sound(part):
            return part
        try:
            read_records(path, self._type)
        except DamagedFile as error:
            return Damage(path, str(error))
        return part

    def set_aside(self, damage: Damage) -> Path:
        """Rename a damaged part so that readers skip it; it is kept."""
        kept = damage.path.with_name(damage.path.name + ".damaged")
        os.replace(damage.path, kept)
        return kept


class EvaluationStore(RecordStore[Evaluation]):
    """The evaluations of a search."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, Evaluation)


# --- Recorder: which records a run has, those of them that may be asked for, and those that its store does not have
# yet.
#
# Invariant: what was recorded is not recorded again; parts are written from time to time, and wherever ``save``
# is called. A record that nobody will ask for is forgotten but for its identity, so that long runs take little
# memory.

#: Seconds between parts, at least, where nobody asks for one.
PART_INTERVAL = 5.0


class Recorder(Generic[Record]):
    """Takes records in and appends them to a store; ``identity`` tells them apart."""

    def __init__(self, store: RecordStore[Record], identity: Callable[[Record], str]) -> None:
        self._store, self._identity = store, identity
        self.recorded: set[str] = set()  #: identities of all
        self.known: dict[str, Record] = {}  #: by identity, in the order of recording: those that are not forgotten
        self._part: tuple[int | None, list[Record]] = (
            None,
            [],
        )  # the next one's number, once it is chosen, and records
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


# --- Whether stored records are ones that may be, told of all together by their columns.
#
# Invariant: where this says so, none of them would be refused when it is built; where it does not, building them
# tells.


def are_sound(columns: "StoredRecords[Any]") -> bool:
    """Whether every record is certainly valid."""
    check = _CHECKS.get(columns.record_type)
    return check is not None and columns.are_complete() and check(columns)


def _sound_evaluations(columns: "StoredRecords[Evaluation]") -> bool:
    evaluated, reason = columns.texts("status").are("evaluated"), columns.texts("reason")
    without_reason = (reason.codes < 0) | reason.are("")
    return (
        columns.distinct("status") <= set(get_args(Status))
        and columns.distinct("class_weights") <= set(CLASS_WEIGHTS)
        and columns.distinct("metric") <= set(METRICS)
        and all(_between(columns, name, high) for name, high in (("fitness", 1.0), ("calibration", math.inf)))
        and _between(columns, "seed", math.inf)
        and np.array_equal(columns.numbers("fitness")[1], evaluated)
        and not (without_reason & ~evaluated).any()
    )


def _sound_measurements(columns: "StoredRecords[Measurement]") -> bool:
    has_value, has_reason = columns.numbers("value")[1], columns.texts("reason").codes >= 0
    return columns.distinct("split") <= {"validation", "test"} and not (has_value == has_reason).any()


def _between(columns: "StoredRecords[Any]", name: str, high: float) -> bool:
    """Whether the numbers of a column are from zero to the highest."""
    least, greatest = columns.range(name)
    return least >= 0 and greatest <= high


_CHECKS: dict[type, Callable[[Any], bool]] = {Evaluation: _sound_evaluations, Measurement: _sound_measurements}
