"""Arrays in a zip file, as numpy.savez packs them, from files of any origin. Nothing is unpickled.

Invariant: an array takes no more memory than the zip file says, and all arrays no more than the file's size allows.
"""

import math
import zipfile
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

#: Arrays may have this many bytes, and beyond it this many times the bytes that they take in the file. A zip file can
#: hold a thousand times its size.
ANY_SIZE, UNPACKED_TO_PACKED = 2**27, 20


class TooMuchToUnpack(ValueError):
    """Arrays so much larger than their file that it must be made to fill the memory. The message gives both sizes."""


class PythonObjects(ValueError):
    """An array of Python objects, such as texts of a table. The message is its name."""


class NotPacked(ValueError):
    """A file that packs no arrays."""


class PackedArrays:
    """The arrays in a stream, by name.

    Opening raises NotPacked and TooMuchToUnpack, reading PythonObjects. For a damaged file both may raise any error.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        if not zipfile.is_zipfile(stream):
            raise NotPacked
        self._archive = zipfile.ZipFile(stream)
        members = self._archive.infolist()
        self._members = {info.filename.removesuffix(".npy"): info for info in members}
        unpacked, packed = (sum(getattr(info, size) for info in members) for size in ("file_size", "compress_size"))
        if unpacked > ANY_SIZE + UNPACKED_TO_PACKED * packed:
            raise TooMuchToUnpack(f"{unpacked:,} bytes packed into {packed:,}")

    @property
    def names(self) -> list[str]:
        """The names of the arrays."""
        return list(self._members)

    def read(self, name: str) -> NDArray[Any]:
        """Read an array whose header agrees with its size. Raises KeyError for an unknown name."""
        member = self._members[name]
        with self._archive.open(member) as stream:
            version = npy.read_magic(stream)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read_header(stream)
            if dtype.hasobject:
                raise PythonObjects(name)
            size, declared = member.file_size - stream.tell(), math.prod(shape) * dtype.itemsize
            if size != declared:
                raise ValueError(f"{name} has {size:,} bytes, and its header says {declared:,}")
        with self._archive.open(member) as stream:
            return np.asarray(npy.read_array(stream, allow_pickle=False))

    def __enter__(self) -> "PackedArrays":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()


def is_single_array(stream: IO[bytes]) -> bool:
    """Return True for a file of numpy.save, which has one array without a name. The stream is at its start again."""
    prefix = stream.read(len(npy.MAGIC_PREFIX))
    stream.seek(0)
    return prefix == npy.MAGIC_PREFIX
