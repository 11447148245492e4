"""Warnings that a search logged: signs that nothing trains or that its scores say nothing.

A log may come from a stranger, so their number and their length are limited.
"""

from pathlib import Path

from lossearch.results.plain_text import printable
from lossearch.results.storage.run_files import logged_events

#: Name of the event in the log.
EVENT = "warning"

#: Largest number of warnings that are read, and of their characters.
_MOST, _LONGEST = 20, 600


def logged_warnings(log: Path) -> tuple[str, ...]:
    """Return the distinct warnings of a log, in their order."""
    texts = (event.get("message") for event in logged_events(log, EVENT))
    distinct = dict.fromkeys(printable(text)[:_LONGEST] for text in texts if isinstance(text, str))
    return tuple(distinct)[:_MOST]
