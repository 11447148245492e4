"""Record folder: what belongs together as a Parquet file for each kind of record.

Invariant: ``form.parquet`` is written last, so that where it is, the others are whole.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossearch.results.record_tables import read_records, write_records

FORM = "form.parquet"


def write_folder(folder: Path, form: Any, kinds: Mapping[str, type], whole: Any) -> None:
    """Replace the files of a folder: a form, and records of each kind, which are attributes of the whole."""
    for name, kind in kinds.items():
        write_records(folder / f"{name}.parquet", kind, getattr(whole, name))
    write_records(folder / FORM, type(form), [form])


def read_folder(folder: Path, form_kind: type, kinds: Mapping[str, type]) -> dict[str, Any] | None:
    """The form, and the records of each kind, by name; None where there is no form. Raises DamagedFile, NewerFile."""
    if not (folder / FORM).is_file():
        return None
    found: dict[str, Any] = {
        name: read_records(folder / f"{name}.parquet", kind) if (folder / f"{name}.parquet").is_file() else []
        for name, kind in kinds.items()
    }
    forms = read_records(folder / FORM, form_kind)
    return {"form": forms[0], **found} if forms else None
