"""Prepared data: a data set decoded once into arrays on disk, which all processes of a machine map and share.

Invariant: a directory of prepared data is complete or does not exist. Its name has two digests: one of the source and
how it is read, and one that also covers the state of its files. Only the latest state of each source is kept. A process
that has mapped a removed directory can go on reading it. A lock file for each source stays.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from lossearch.evaluators.data.data_home import prepared_home, shown_path
from lossearch.evaluators.data.splits import Pairs, Split
from lossearch.primitives.errors import UserError, shown
from lossearch.results.records import digest

if TYPE_CHECKING:
    from torch import Tensor

#: Version of the decoding. A new version makes all data be prepared again.
VERSION = 2

#: Keys of ``decides`` that change with the files of a source. All others identify the source and how it is read.
CHANGING = ("files", "parts")

INPUTS, TARGETS, ABOUT = "inputs.npy", "targets.npy", "about.json"

#: An image [channels, height, width] and its class index, or those of its pixels [height, width], -1 for ignored ones.
Sample = tuple[NDArray[np.uint8], "int | NDArray[np.int64]"]


@dataclass(frozen=True)
class Content:
    """The content of a data set: the names of classes, and the samples of every part, decoded one by one.

    ``skipped`` names files that are left out. It may grow while samples are decoded.
    """

    classes: Sequence[str]
    parts: Mapping[str, Iterable[Sample]]
    skipped: Sequence[str] = ()


@dataclass(frozen=True)
class Prepared:
    """Image bytes [samples, channels, height, width], and class indices [samples] or [samples, height, width].

    Both are mapped from disk. ``about`` holds the names of classes, the number of samples and the counts of class
    indices of each part, and the names of skipped files.
    """

    inputs: Tensor
    targets: Tensor
    about: dict[str, Any]

    def split(self, part: str, pairs: Pairs | None = None) -> Split:
        """Return a part, as a view. Raises KeyError for an unknown name."""
        start = 0
        for name, about in self.about["parts"].items():
            stop = start + about["samples"]
            if name == part:
                return Split(self.inputs[start:stop], self.targets[start:stop], pairs)
            start = stop
        raise KeyError(part)

    def counts(self, part: str) -> list[int]:
        """Count the targets of each class in a part [classes]."""
        counts: list[int] = self.about["parts"][part]["counts"]
        return counts

    def absent(self, part: str) -> list[str]:
        """Return the classes without a target in a part."""
        return [name for name, count in zip(self.about["classes"], self.counts(part), strict=True) if count == 0]


def prepare(name: str, decides: Mapping[str, Any], content: Callable[[], Content]) -> Prepared:
    """Open the prepared data of a name, and prepare it first if it does not exist.

    ``decides`` is all plain data that decides the content; ``content`` is called only to prepare it. Data of an older
    state of ``CHANGING`` is removed. If several processes prepare a source at once, one does it and the others wait.
    Raises UserError if the data cannot be written or read.
    """
    source = f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:40]}-{_digest(decides, CHANGING)}"
    folder = prepared_home() / f"{source}-{_digest(decides)}"
    while True:
        if not folder.is_dir():
            _make(folder, source, content)
        try:
            return _open(folder)
        except UserError:
            if folder.is_dir():
                raise  # else another process has removed it for a newer state


def _digest(decides: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    kept = {key: value for key, value in decides.items() if key not in without}
    return digest(VERSION, json.dumps(kept, sort_keys=True))


def _make(folder: Path, source: str, content: Callable[[], Content]) -> None:
    """Prepare a directory, unless another process has done so. Raises UserError if it cannot be written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f".{source}.lock")):
            if not folder.is_dir():
                with _reading():
                    new_content = content()
                _write_and_rename(folder, new_content)
                _remove_others(folder, source)
    except OSError as error:
        raise UserError(
            f"Expected to write prepared data to {shown_path(folder)}, got: {error.strerror or error}. Make room "
            "there, or set LOSSEARCH_DATA to another directory."
        ) from None


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Wait until no other process holds the lock. The system frees it when its holder ends, however it ends."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _reading() -> Iterator[None]:
    """Raise errors of reading a source as UserError, so that they are not taken for errors of writing."""
    try:
        yield
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error or "out of memory"
        raise UserError(f"Expected to read the data to prepare, got: {reason}. Fix this, and start again.") from None


def _read_samples(samples: Iterable[Sample]) -> Iterator[Sample]:
    with _reading():
        yield from samples


def _write_and_rename(folder: Path, content: Content) -> None:
    """Write a directory next to ``folder``, sync it and rename it to ``folder``."""
    unfinished = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was stopped
    unfinished.mkdir()
    try:
        _write(unfinished, content)
        _sync(unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _sync(folder.parent)


def _write(folder: Path, content: Content) -> None:
    parts: dict[str, dict[str, Any]] = {}
    with GrowingArray(folder / INPUTS, np.uint8) as inputs, GrowingArray(folder / TARGETS, np.int64) as targets:
        for part, samples in content.parts.items():
            start, counts = len(targets), np.zeros(len(content.classes), np.int64)
            for image, target in _read_samples(samples):
                inputs.append(image)
                targets.append(np.asarray(target))
                counts += _count_classes(np.asarray(target), len(content.classes))
            parts[part] = {"samples": len(targets) - start, "counts": counts.tolist()}
        if len(targets) == 0:
            first = "".join(f", such as {shown(name, 160)}" for name in content.skipped[:1])
            raise UserError(
                f"Expected samples, got none; broken files: {len(content.skipped)}{first}. Fix or replace the files."
            )
    about: dict[str, Any] = {"classes": list(content.classes), "parts": parts, "skipped": list(content.skipped)}
    about["digest"] = _digest(about)
    with (folder / ABOUT).open("w", encoding="utf-8") as file:
        json.dump(about, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _count_classes(target: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count each class index in a target [classes]. Raises UserError for an index out of range."""
    lowest = 0 if target.ndim == 0 else -1  # only pixels can be ignored
    if target.min() < lowest or target.max() >= classes:
        raise UserError(
            f"Expected class indices from {lowest} to {classes - 1}, got {target.min()} to {target.max()}. "
            "Correct the labels of the data set."
        )
    flat = target.flatten()
    return np.bincount(flat[flat >= 0], minlength=classes)


def _remove_others(folder: Path, source: str) -> None:
    """Remove data of other states of the source, and the remains of stopped processes."""
    for other in folder.parent.glob(f"{source}-*"):
        if other != folder:
            other.rename(other.with_name(f".{other.name}.removed"))  # a directory is complete or does not exist
    for remnant in (*folder.parent.glob(f".{source}-*.writing"), *folder.parent.glob(f".{source}-*.removed")):
        shutil.rmtree(remnant, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(folder: Path) -> Prepared:
    import torch

    try:
        inputs, targets = (
            torch.from_numpy(np.load(folder / name, mmap_mode="c", allow_pickle=False)) for name in (INPUTS, TARGETS)
        )
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about.pop("digest") != _digest(about):
            raise ValueError(f"an {ABOUT} that was changed")
        samples = sum(part["samples"] for part in about["parts"].values())
        if not samples == len(inputs) == len(targets):
            raise ValueError(f"{len(inputs)} inputs and {len(targets)} targets of {samples} samples")
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"Expected prepared data in {shown_path(folder)}, got: {error}. Remove this directory: it will be "
            "prepared again."
        ) from None
    return Prepared(inputs, targets, about)


class GrowingArray:
    """An array in a .npy file that grows row by row, with one row in memory. The file is complete after the context.

    The header leaves room for the number of rows (NumPy Enhancement Proposal 1, and ``numpy.lib.format`` since 1.23),
    and is written again at the end.
    """

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        self._file, self._dtype = path.open("wb"), np.dtype(dtype)
        self._shape: tuple[int, ...] = ()
        self._rows = self._start = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, row: NDArray[np.generic]) -> None:
        """Add a row. Raises ValueError if its shape differs from the first row's."""
        if self._rows == 0:
            self._shape = row.shape
            self._write_header()
            self._start = self._file.tell()
        if row.shape != self._shape:
            raise ValueError(f"Expected rows of shape {list(self._shape)}, got {list(row.shape)}.")
        self._file.write(np.ascontiguousarray(row, self._dtype).tobytes())
        self._rows += 1

    def __enter__(self) -> GrowingArray:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._write_header()
            assert self._file.tell() == self._start or self._rows == 0
            self._file.flush()
            os.fsync(self._file.fileno())

    def _write_header(self) -> None:
        self._file.seek(0)
        shape = (self._rows, *self._shape)
        header = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._file, header)
