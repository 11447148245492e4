"""Plain text: text of a run, or of a person, as one line that no file's syntax takes for its own."""

import re


def plain(text: str) -> str:
    """Text without anything that could end a docstring or a line."""
    return re.sub(r"[^A-Za-z0-9 .,:;_+*/()=<>@%&#'-]", "?", text)
