"""Where downloaded and prepared data lies: below $LOSSEARCH_DATA, or ~/.cache/lossearch."""

import os
from pathlib import Path

from lossearch.primitives.errors import UserError, shown


class DataMissing(UserError):
    """Data that is not on this machine, or not whole; the message names the command or the page that provides it."""


def data_home() -> Path:
    """The directory that everything lies below."""
    return Path(os.environ.get("LOSSEARCH_DATA") or "~/.cache/lossearch").expanduser().absolute()


def raw_folder(name: str) -> Path:
    """Where the files of a data set are put as they were published."""
    return data_home() / "raw" / name


def prepared_home() -> Path:
    """Where prepared data lies."""
    return data_home() / "prepared"


def is_there(folder: Path) -> bool:
    """Whether a folder is there with anything in it that is not hidden."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def place(path: Path) -> str:
    """A path in a form that a message can hold."""
    return shown(str(path), 300)
