"""The directory and the log of a run, whose path and contents may come from a stranger."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossearch.primitives.errors import nearest


def logged_events(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of ``log.jsonl`` in their order; no file has no events.

    Lines that are no JSON object are skipped: the last one may have been cut off.
    """
    if not log.exists():
        return
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                yield event


def no_run_at(path: Path, lacks: str) -> str:
    """Describe a path that is no run's directory: what the directory ``lacks``, or directories with a similar name."""
    expected = f"{path}: expected the directory of a run"
    if path.is_dir():
        return f"{expected}, with {lacks} in it"
    if path.exists():
        return f"{expected}, got a file"
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    suggestion = nearest(path.name, (neighbor.name for neighbor in beside if neighbor.is_dir()))
    return f"{expected}, got no such directory{suggestion if 'did you mean' in suggestion else ''}"
