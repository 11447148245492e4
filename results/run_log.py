"""The log of a run as data: a line was perhaps cut off, and may be a stranger's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def logged_events(log: Path) -> Iterator[dict[str, Any]]:
    """The events of ``log.jsonl``, in their order; lines that are none are left out, and none are in no file."""
    if not log.exists():
        return
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event
