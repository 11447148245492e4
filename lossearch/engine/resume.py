"""Archive file: the fingerprints that a search has seen, appended to as they grow.

Invariant: a checkpoint says how long the file was when it was written; what lies beyond is cut off. So a checkpoint
costs as much as there is new, however many formulas a search has seen.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lossearch.engine.admission import Admission, each_apart
from lossearch.engine.breeding import TOGETHER
from lossearch.evaluators.work import Candidate, candidate_of
from lossearch.primitives.identity.fingerprint import Fingerprint, fingerprints
from lossearch.primitives.language.parser import parse
from lossearch.results.records import Evaluation
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


# --- Unfinished: what a search that keeps no generations had begun when it was stopped, from its records.
#
# Invariant: a loss that was recorded is not born a second time, whether a checkpoint knows of it or not.


def trained_in(evaluations: Iterable[Evaluation]) -> list[Candidate]:
    """The candidates that were trained, each once, in the order of recording."""
    return list(dict.fromkeys(candidate_of(each) for each in evaluations if each.seed is not None))


def remember(admission: Admission, since: Sequence[Evaluation], born: Sequence[Candidate]) -> None:
    """Let admission know of what was recorded since a checkpoint, among it the births of candidates."""
    admission.births = max([admission.births, *(each.birth_number for each in since)])
    new = [*born, *(candidate_of(each) for each in since if each.status == "rejected")]
    for start in range(0, len(new), TOGETHER):
        some = new[start : start + TOGETHER]
        for candidate, seen in zip(some, each_apart(_fingerprints, some), strict=True):
            if isinstance(seen, tuple) and admission.archive.find(seen) is None:
                admission.archive.add(seen, candidate.loss_id)


def _fingerprints(candidates: Sequence[Candidate]) -> list[Fingerprint | None]:
    return fingerprints([parse(each.formula) for each in candidates], [each.class_weights for each in candidates])
