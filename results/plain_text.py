"""Plain text: text of a run, or of a person, in a form that no file's syntax and no screen takes for its own."""

import html
import re
from collections.abc import Iterable, Sequence


def plain(text: str) -> str:
    """Text without anything that could end a docstring or a line."""
    return re.sub(r"[^A-Za-z0-9 .,:;_+*/()=<>@%&#'-]", "?", text)


def printable(text: str) -> str:
    """The text without characters that are not seen or turn others around, which a terminal would obey."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


# --- What a notebook shows of tables: HTML in which text of a run is escaped.

#: Rows that are shown.
SHOWN = 10


def html_table(head: Sequence[str], lines: Iterable[Sequence[object]], caption: str = "") -> str:
    """A table of texts and numbers; a number has four digits."""
    heads = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in head)
    body = "".join(f"<tr>{_cells(line)}</tr>" for line in lines)
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{heads}</tr></thead>{body}</table>"


def _cells(line: Sequence[object]) -> str:
    return "".join(f"<td>{html.escape(_text(each))}</td>" for each in line)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
