"""Archive file: the fingerprints that a search has seen, appended to as they grow.

Invariant: a checkpoint says how long the file was when it was written; what lies beyond is cut off. So a checkpoint
costs as much as there is new, however many formulas a search has seen.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lossearch.primitives.identity.fingerprint import Fingerprint
from lossearch.results.storage.atomic import append_at

#: A fingerprint, and the id of the loss that came first with it.
Entry = tuple[Fingerprint, str]


class ArchiveFile:
    """The file of an archive, a JSON array in each line, and how much of it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = 0
        self._bytes = 0

    def append(self, entries: Sequence[Entry]) -> dict[str, int]:
        """Write those entries that the file does not have yet; returns what ``read`` wants to find them again."""
        new = entries[self._entries :]
        if new:
            lines = (json.dumps([*seen, loss_id]) for seen, loss_id in new)
            self._bytes = append_at(self._path, self._bytes, "".join(f"{line}\n" for line in lines).encode())
            self._entries = len(entries)
        return {"entries": self._entries, "bytes": self._bytes}

    def read(self, written: Any) -> list[Entry]:
        """The entries as they were when ``append`` returned this. Raises ValueError where the file has others."""
        entries, size = int(written["entries"]), int(written["bytes"])
        found = list(_entries(self._path.read_bytes()[:size] if size else b""))
        if len(found) != entries:
            raise ValueError(f"{len(found)} formulas in {self._path.name} of {entries}")
        self._entries, self._bytes = entries, size
        return found


def _entries(content: bytes) -> Iterable[Entry]:
    for line in content.splitlines():
        kind, *views, loss_id = json.loads(line)
        one, two, three, four = (float(each) for each in views)
        yield (str(kind), one, two, three, four), str(loss_id)
