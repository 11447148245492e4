"""Files that an export may replace: those that lossearch wrote. Anything else is somebody's work."""

import zipfile
from pathlib import Path

from lossearch.primitives.errors import Argument, UserError
from lossearch.results.storage.run_files import shown_path

#: The beginning of a Python file, and a line of its docstring. Files of every version have both.
_BEGINNING, _LINE = b'# SPDX-License-Identifier: Apache-2.0\nr"""', b"\nWritten by:"

#: The producer in an ONNX model, its second field: the number of the field, its length, the text.
_PRODUCER = b"\x12\x09lossearch"

#: The beginning of a model card, and a line of it.
_CARD_BEGINNINGS, _CARD_LINE = (b"# Loss `", b"# A loss by its formula\n"), b"\n- Written by: lossearch "

#: Bytes in which these are looked for.
_HEAD = 2**20


def require_replaceable(path: Path, force: bool = False) -> None:
    """Raise UserError unless a file can be written at the path without a loss of somebody's work.

    The folder must exist. A file there must be one that lossearch wrote, or empty, or be replaced by ``force``.
    """
    if not path.parent.is_dir():
        raise UserError(
            f"Expected a path in a directory that exists, got {shown_path(path)!r}. Make the directory first."
        )
    if path.is_dir():
        raise UserError(f"Expected the path of a file, got the directory {shown_path(path)!r}. Add the name of a file.")
    if force or not path.exists() or _is_ours(path):
        return
    raise UserError(
        f"{shown_path(path)}: exists already, and lossearch did not write it. Give another path, or replace it with ",
        Argument("force", "True"),
        ".",
    )


def _is_ours(path: Path) -> bool:
    """Return True for an empty file, and for one that an export wrote."""
    if not path.is_file():  # a pipe or a device
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if head.startswith(b"PK"):
            with zipfile.ZipFile(path) as program:
                return any(name.endswith("lossearch.json") for name in program.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
    is_python = head.startswith(_BEGINNING) and _LINE in head
    is_card = head.startswith(_CARD_BEGINNINGS) and _CARD_LINE in head
    return not head or is_python or is_card or _PRODUCER in head[:64]
