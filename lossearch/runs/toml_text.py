"""TOML from files of any origin: read within bounds of size and depth, so that no file takes long or fails oddly."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossearch.evaluators.data.data_home import shown_path
from lossearch.primitives.errors import UserError, shown
from lossearch.results.storage.run_files import MAX_DECLARATION

#: Most tables within tables, and most names in a dotted key. A declaration needs four of each.
_MAX_DEPTH, _MAX_NAMES = 16, 256

_BETWEEN_KEYS = re.compile(r"[\n=,{\[]")


def read_toml_text(path: Path) -> str:
    """Read a file as text, without the byte order mark of some editors. Raises UserError."""
    try:
        if path.exists() and not path.is_file():  # a pipe would have to be waited for
            raise UserError(
                f"{shown_path(path)}: expected a TOML file, got {'a folder' if path.is_dir() else 'no file'}."
            )
        with path.open("rb") as file:
            content = file.read(MAX_DECLARATION + 1)
        if len(content) > MAX_DECLARATION:
            raise UserError(
                f"{shown_path(path)}: expected a TOML file of at most {MAX_DECLARATION:,} bytes, got a larger one."
            )
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{shown_path(path)}: expected a readable TOML file, got a text that is not UTF-8, from byte {error.start} "
            "on. Save it as UTF-8."
        ) from None


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Parse TOML. Raises UserError, which names the source, also for tables that are nested too deep."""
    if any(part.count(".") > _MAX_NAMES for part in _BETWEEN_KEYS.split(text)):
        raise UserError(f"{source}: expected TOML, got a key of more than {_MAX_NAMES} names.")
    try:
        declared = tomllib.loads(text)
    except RecursionError:
        declared = None
    except ValueError as error:  # of tomllib, or of a number with thousands of digits
        raise UserError(f"{source}: expected TOML, got: {shown(str(error), 200)}") from None
    if declared is None or _is_deep(declared):
        raise UserError(f"{source}: expected TOML, got arrays or tables that are nested more than {_MAX_DEPTH} deep.")
    return declared


def _is_deep(declared: dict[str, Any]) -> bool:
    level: list[Any] = [declared]
    for _ in range(_MAX_DEPTH):
        level = [inner for outer in level for inner in _list_inner(outer)]
    return bool(level)


def _list_inner(value: Any) -> Iterator[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return (entry for entry in inner if isinstance(entry, dict | list))
