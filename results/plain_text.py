"""Plain text: text of a run, or of a person, in a form that no file's syntax and no screen takes for its own."""

import re


def plain(text: str) -> str:
    """Text without anything that could end a docstring or a line."""
    return re.sub(r"[^A-Za-z0-9 .,:;_+*/()=<>@%&#'-]", "?", text)


def printable(text: str) -> str:
    """The text without characters that are not seen or turn others around, which a terminal would obey."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
