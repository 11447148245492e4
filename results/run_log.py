"""The log of a run as data: a line was perhaps cut off, and may be a stranger's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def logged_events(log: Path) -> Iterator[dict[str, Any]]:
    """The events of ``log.jsonl``, in their order; lines that are none are left out, and none are in no file."""
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
