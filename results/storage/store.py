"""The store of a run: a directory of Parquet files, its parts, to which one writer appends.

Invariant: a part under its final name is complete; no record is ever changed or removed. Parts are written under a name
that starts with a dot and does not end in .parquet, synced, and renamed.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Generic, TypeVar

from lossearch.results.records import Evaluation, Measurement
from lossearch.results.storage.columns import StoredRecords
from lossearch.results.storage.tables import DamagedFile, describe_damage, read_table, write_records

_READERS = 2  #: threads that read parts

Record = TypeVar("Record", bound=Evaluation | Measurement)


@dataclass(frozen=True)
class Damage:
    """A part that cannot be read, and the reason."""

    path: Path
    reason: str


class RecordStore(Generic[Record]):
    """The records of a run in a directory of parts, ``000001.parquet`` and so on."""

    def __init__(self, directory: Path, record_type: type[Record]) -> None:
        self._directory, self._type = directory, record_type
        self._identity = fields(record_type)[0].name

    def append(self, records: Sequence[Record]) -> None:
        """Write one more part. Only the run's driver may call this."""
        if records:
            self.write(self.next_part(), records)

    def next_part(self) -> int:
        """Return a part number that was never used, not even by a part that was set aside."""
        numbers = [int(path.name.split(".")[0]) for path in self._directory.glob("[0-9]*.parquet*")]
        return max(numbers, default=0) + 1

    def write(self, part: int, records: Sequence[Record]) -> None:
        """Write the part with this number, or write it again with more records. Only the run's driver may call this."""
        self._directory.mkdir(parents=True, exist_ok=True)
        write_records(self._directory / f"{part:06d}.parquet", self._type, records)

    def read(self) -> tuple[list[Record], list[Damage]]:
        """Return every record once, in the order written, and the parts that cannot be read."""
        columns, damages = self.open()
        return columns.records(), damages

    def open(self) -> tuple[StoredRecords[Record], list[Damage]]:
        """Return every record once as columns, in the order written, and the parts that cannot be read.

        A part with a record that breaks a rule is damaged as a whole.
        """
        paths = sorted(self._directory.glob("[0-9]*.parquet"))
        with ThreadPoolExecutor(_READERS) as readers:
            parts = list(readers.map(self._read_part, paths))
            columns = self._join(parts)
            readers.submit(columns.texts, self._identity)  # the longest step runs while the rules are checked
            is_valid = columns.broken_rule() is None
        if not is_valid:
            parts = [self._check_part(path, part) for path, part in zip(paths, parts, strict=True)]
            columns = self._join(parts)
        return columns.once(), [part for part in parts if isinstance(part, Damage)]

    def _join(self, parts: Iterable[StoredRecords[Record] | Damage]) -> StoredRecords[Record]:
        return StoredRecords.joined(self._type, [part for part in parts if not isinstance(part, Damage)])

    def _read_part(self, path: Path) -> StoredRecords[Record] | Damage:
        try:
            return StoredRecords(self._type, [read_table(path, self._type)])
        except DamagedFile as error:
            return Damage(path, str(error))

    def _check_part(self, path: Path, part: StoredRecords[Record] | Damage) -> StoredRecords[Record] | Damage:
        """Return the part, or its damage if a record breaks a rule."""
        rule = None if isinstance(part, Damage) else part.broken_rule()
        if rule is None:
            return part
        expected = f"{rule} in every row of {self._type.__name__}"
        return Damage(path, describe_damage(path, expected, "a row without it"))

    def set_aside(self, damage: Damage) -> Path:
        """Rename a damaged part so that readers skip it, and return its new path."""
        kept = damage.path.with_name(damage.path.name + ".damaged")
        os.replace(damage.path, kept)
        return kept


class EvaluationStore(RecordStore[Evaluation]):
    """The evaluations of a search."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, Evaluation)
