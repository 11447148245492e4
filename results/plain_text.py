"""Text of a run or of a person, made safe to print: no file format and no terminal may take it for its own syntax."""

import html
import re
from collections.abc import Iterable, Sequence

#: Rows of a table that a notebook shows.
SHOWN = 10


def plain(text: str) -> str:
    """Replace every character that could end a docstring or a line by a question mark."""
    return re.sub(r"[^A-Za-z0-9 .,:;_+*/()=<>@%&#'-]", "?", text)


def printable(text: str) -> str:
    """Replace invisible characters and those that a terminal would obey, such as escapes."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def html_table(head: Sequence[str], lines: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return an HTML table of texts and numbers for a notebook. Texts are escaped, and floats have four digits."""
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{_cells(line)}</tr>" for line in lines)
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{heads}</tr></thead>{body}</table>"


def _cells(line: Sequence[object]) -> str:
    return "".join(f"<td>{html.escape(_text(value))}</td>" for value in line)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
