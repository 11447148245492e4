"""Archive file: the fingerprints of all formulas that a search has seen. The search appends to it.

Invariant: a checkpoint records how long the file was when the checkpoint was written; whatever lies beyond is cut off.
So a checkpoint writes only new fingerprints, however many formulas a search has seen.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lossearch.primitives.identity.fingerprint import Fingerprint
from lossearch.results.storage.atomic import append_at
from lossearch.results.storage.run_files import MAX_ARCHIVE, MAX_LINE, read_run_file

#: A fingerprint, and the id of the first loss that had it.
Entry = tuple[Fingerprint, str]


class ArchiveFile:
    """The file of a fingerprint archive, with a JSON array in each line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._num_entries = 0  # that the file holds
        self._num_bytes = 0

    def append(self, entries: Sequence[Entry]) -> dict[str, int]:
        """Write the entries that the file lacks. Return the file's extent, which ``read`` needs."""
        new_entries = entries[self._num_entries :]
        if new_entries:
            lines = (json.dumps([*fingerprint, loss_id]) for fingerprint, loss_id in new_entries)
            content = "".join(f"{line}\n" for line in lines).encode()
            self._num_bytes = append_at(self._path, self._num_bytes, content)
            self._num_entries = len(entries)
        return {"entries": self._num_entries, "bytes": self._num_bytes}

    def read(self, extent: Any) -> list[Entry]:
        """Read the entries up to an extent that ``append`` returned. Raises ValueError if their number differs."""
        num_entries, num_bytes = int(extent["entries"]), int(extent["bytes"])
        content = read_run_file(self._path, MAX_ARCHIVE) if num_bytes else b""
        if not 0 <= num_bytes <= len(content):
            raise ValueError(f"expected at least {num_bytes} bytes in {self._path.name}, got {len(content)}")
        entries = list(_parse_entries(content[:num_bytes]))
        if len(entries) != num_entries:
            raise ValueError(f"expected {num_entries} formulas in {self._path.name}, got {len(entries)}")
        self._num_entries, self._num_bytes = num_entries, num_bytes
        return entries


def _parse_entries(content: bytes) -> Iterator[Entry]:
    for line in content.splitlines():
        if len(line) > MAX_LINE:
            raise ValueError(f"expected lines of at most {MAX_LINE:,} bytes, got {len(line):,}")
        kind, *views, loss_id = json.loads(line)
        first, second, third, fourth = (float(view) for view in views)
        yield (str(kind), first, second, third, fourth), str(loss_id)
