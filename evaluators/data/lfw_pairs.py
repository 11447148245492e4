"""The pairs of Labeled Faces in the Wild that are verified, read from pairs.txt.

Source: Huang et al., Labeled Faces in the Wild, 2007, view 2. The first line has the number of folds and n; each fold
has n lines "name, number, number" of one person and n lines "name, number, name, number" of two, apart by tabs.
"""

from dataclasses import dataclass
from pathlib import Path

from lossearch.evaluators.data.data_home import DataMissing, place, raw_folder
from lossearch.primitives.errors import UserError, shown

NAME = "lfw_people"

#: Digits that a number has at most: nobody has as many images as 10,000.
_DIGITS = 4


@dataclass(frozen=True)
class NamedPair:
    """A pair of images: each a person's name and the number of an image of that person, from 1 on."""

    first: tuple[str, int]
    second: tuple[str, int]


def lfw_home() -> Path:
    """Where scikit-learn puts Labeled Faces in the Wild."""
    return raw_folder(NAME) / "lfw_home"


def lfw_pairs() -> list[NamedPair]:
    """The 6,000 pairs of view 2, ten folds in order, 300 of one person and 300 of two in each. Raises UserError."""
    path = lfw_home() / "pairs.txt"
    if not path.is_file():
        raise DataMissing(f"Expected {place(path)}, got nothing. Run: lossearch download {NAME}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _odd("text in UTF-8", "other bytes") from None
    header, *lines = [line.split("\t") for line in text.splitlines() if line.strip()] or [[]]
    if len(header) != 2 or not all(map(_is_number, header)):
        raise _odd("a first line of two numbers, folds and pairs", _quoted(header))
    folds, each = map(int, header)
    if len(lines) != 2 * folds * each or not lines:
        raise _odd(f"{2 * folds * each} lines of pairs, as the first says", str(len(lines)))
    fields_of = ([3] * each + [4] * each) * folds
    return [_pair(fields, count) for fields, count in zip(lines, fields_of, strict=True)]


def _pair(fields: list[str], count: int) -> NamedPair:
    """The pair of a line of so many fields: name, number, number; or name, number, name, number."""
    names, numbers = fields[0 : count - 1 : 2], [*fields[1:2], *fields[-1:]]
    if len(fields) != count or not all(map(_is_number, numbers)) or not all(map(_is_name, names)):
        form = "name, number, number" if count == 3 else "name, number, name, number"
        raise _odd(f"a line of {form}, apart by tabs,", _quoted(fields))
    first, second = (int(number) for number in numbers)
    return NamedPair((names[0], first), (names[-1], second))


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdecimal() and len(field) <= _DIGITS


def _is_name(field: str) -> bool:
    """Whether a field can be the name of a folder beside the others."""
    return bool(field) and not field.startswith(".") and "/" not in field and "\0" not in field


def _quoted(fields: list[str]) -> str:
    return repr(shown(" ".join(fields)))


def _odd(expected: str, got: str) -> UserError:
    return UserError(f"Expected {expected} in pairs.txt, got {got}. Remove the file. Run: lossearch download {NAME}")
