"""An array in a .npy file that grows row by row, so that no more than one row is in memory."""

import os
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray


class GrowingArray:
    """Rows of one shape and type, written as they come; the file is whole when the context ends.

    Its header leaves room for the number of rows (NumPy Enhancement Proposal 1, and ``numpy.lib.format`` since 1.23),
    and is written anew at the end.
    """

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        self._file, self._dtype = path.open("wb"), np.dtype(dtype)
        self._shape: tuple[int, ...] = ()
        self._rows = self._start = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, row: NDArray[np.generic]) -> None:
        """Add a row. Raises ValueError where its shape is not that of the first."""
        if self._rows == 0:
            self._shape = row.shape
            self._write_header()
            self._start = self._file.tell()
        if row.shape != self._shape:
            raise ValueError(f"Expected rows of shape {list(self._shape)}, got {list(row.shape)}.")
        self._file.write(np.ascontiguousarray(row, self._dtype).tobytes())
        self._rows += 1

    def __enter__(self) -> "GrowingArray":
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
        described = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._file, described)
