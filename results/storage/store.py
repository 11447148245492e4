"""The store of a run: a directory of Parquet files, its parts, to which one writer appends.

Invariant: a part under its final name is complete; no record is ever changed or removed. Parts are written under a name
that starts with a dot and does not end in .parquet, synced, and renamed.
"""

import errno
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import Generic, TypeVar

from lossearch.primitives.errors import shown
from lossearch.results.records import Evaluation, Measurement
from lossearch.results.storage.atomic import is_unfinished, set_aside
from lossearch.results.storage.columns import StoredRecords
from lossearch.results.storage.run_files import ForeignFile, make_folder, refuse_linked_folders, shown_path
from lossearch.results.storage.tables import (
    MAX_ROWS,
    DamagedFile,
    RowBudget,
    TooLarge,
    describe_damage,
    read_table,
    write_records,
)

_READERS = 2  #: threads that read parts

#: Names of parts, and of what once was one: at least six digits, without needless zeros.
_PART = re.compile(r"([0-9]{6}|[1-9][0-9]{6,17})\.parquet")
_OF_PART = re.compile(rf"{_PART.pattern}(\.damaged[0-9]*)?")

#: Numbers from here on are no run's: new parts are not numbered after them.
_LARGEST_PART = 10**15

#: Most foreign names in a message.
MAX_NAMED = 5

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
        refuse_linked_folders(self._directory / "part")
        try:
            numbers = {_number_of(name) for name in os.listdir(self._directory) if _OF_PART.fullmatch(name)}
        except FileNotFoundError:
            return 1
        after = max((number for number in numbers if number < _LARGEST_PART), default=0) + 1
        return next(number for number in count(after) if number not in numbers)

    def write(self, part: int, records: Sequence[Record]) -> None:
        """Write the part with this number, or write it again with more records. Only the run's driver may call this.

        Raises FileNotFoundError where the run's directory was moved away: a new one would hold only half of the run.
        """
        if not self._directory.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._directory))
        make_folder(self._directory)
        write_records(self._directory / f"{part:06d}.parquet", self._type, records)

    def read(self) -> tuple[list[Record], list[Damage]]:
        """Return every record once, in the order written, and the parts that cannot be read."""
        columns, damages = self.open()
        return columns.records(), damages

    def open(self) -> tuple[StoredRecords[Record], list[Damage]]:
        """Return every record once as columns, in the order written, and the parts that cannot be read.

        A part with a record that breaks a rule is damaged as a whole. Raises OSError if the directory cannot be read,
        ForeignFile if it is a link, and TooLarge for more rows than may be read.
        """
        paths, budget = self._list()[0], RowBudget(MAX_ROWS)
        with ThreadPoolExecutor(_READERS) as readers:
            parts = list(readers.map(lambda path: self._read_part(path, budget), paths))
            columns = self._join(parts)
            readers.submit(columns.texts, self._identity)  # the longest step runs while the rules are checked
            is_valid = columns.broken_rule() is None
        if not is_valid:
            parts = [self._check_part(path, part) for path, part in zip(paths, parts, strict=True)]
            columns = self._join(parts)
        return columns.once(), [part for part in parts if isinstance(part, Damage)]

    def _join(self, parts: Iterable[StoredRecords[Record] | Damage]) -> StoredRecords[Record]:
        return StoredRecords.joined(self._type, [part for part in parts if not isinstance(part, Damage)])

    def _read_part(self, path: Path, budget: RowBudget) -> StoredRecords[Record] | Damage:
        try:
            return StoredRecords(self._type, [read_table(path, self._type, budget)])
        except TooLarge:
            raise  # to set it aside would lose a sound part of a long run
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
        return set_aside(damage.path)

    def describe_foreign(self) -> str | None:
        """Name everything in the directory that no run writes there, and that is left alone; None if there is nothing.

        Raises as ``open`` does.
        """
        names = self._list()[1]
        if not names:
            return None
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        listed = ", ".join(shown(name) for name in names[:MAX_NAMED])
        return f"{shown_path(self._directory)}: left alone, since no run writes it: {listed}{more}."

    def _list(self) -> tuple[list[Path], list[str]]:
        """Return the parts in the order written, and the names of everything that is none.

        A directory is no part, whatever its name. Raises OSError for a folder that cannot be read.
        """
        refuse_linked_folders(self._directory / "part")
        try:
            with os.scandir(self._directory) as entries:
                is_folder = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except FileNotFoundError:
            return [], []
        except OSError as error:
            expected = f"{shown_path(self._directory)}: expected a folder of records that can be read"
            raise ForeignFile(f"{expected}, got: {error.strerror}.") from None
        parts = [name for name in is_folder if _PART.fullmatch(name) and not is_folder[name]]
        foreign = [name for name in is_folder if name not in set(parts) and not _is_ours(name)]
        return [self._directory / name for name in sorted(parts, key=_number_of)], sorted(foreign)


def _number_of(part: str) -> int:
    return int(part.split(".")[0])


def _is_ours(name: str) -> bool:
    """Return True for a name that the store gives to something else than a part."""
    return is_unfinished(name) or (_OF_PART.fullmatch(name) is not None and not _PART.fullmatch(name))


class EvaluationStore(RecordStore[Evaluation]):
    """The evaluations of a search."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, Evaluation)
