"""The store of a run: a directory of Parquet files, its parts, to which one writer appends.

Invariant: a part under its final name is complete; nothing that was recorded is ever changed or removed. Parts are
written under a name that starts with a dot and does not end in .parquet, synced, and renamed.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Generic, TypeVar

from lossearch.results.record_columns import StoredRecords
from lossearch.results.record_tables import DamagedFile, read_records, read_table, write_records
from lossearch.results.records import Evaluation, Measurement
from lossearch.results.soundness import are_sound

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
