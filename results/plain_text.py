"""Text of a run or of a person, made safe to print: no file format and no terminal may take it for its own syntax."""

import html
import re
from collections.abc import Iterable, Sequence

#: Beginnings of a cell that a spreadsheet computes, also in their full-width forms.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

#: Rows of a table that a notebook shows.
SHOWN = 10


def plain(text: str) -> str:
    """Replace every character that could end a docstring or a line by a question mark."""
    return re.sub(r"[^A-Za-z0-9 .,:;_+*/()=<>@%&#'-]", "?", text)


def printable(text: str) -> str:
    """Replace invisible characters and those that a terminal would obey, such as escapes."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def spreadsheet_cell(text: str) -> str:
    """Return a text as a cell of a CSV file that no terminal obeys and no spreadsheet computes.

    Invisible characters are escaped, as in ``\\x1b``. A text that a spreadsheet would take for a formula gets a quote
    in front; a number stays a number.
    """
    visible = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
    begins_formula = text.lstrip(" ").startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(text)
    return f"'{visible}" if begins_formula else visible


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
