"""The files of MNIST and its like (idx): images and labels as bytes behind a header, packed by gzip or not.

The format is that of Yann LeCun's page of MNIST: two zeros, 8 for bytes, the number of dimensions, and the size of each
as four bytes, big endian. Invariant: a header that does not match its file is refused before memory is taken for it.
"""

import gzip
import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossearch.evaluators.data.data_home import shown_path
from lossearch.evaluators.data.images import as_image

#: Where a system's package keeps data sets, such as Debian's dataset-fashion-mnist.
SYSTEM = Path("/usr/share/datasets")

#: Most bytes of one file, three times those of the largest published one.
MAX_BYTES = 2**28


class IdxImages:
    """Grey images with labels, as torchvision's data sets give them."""

    def __init__(self, images: Path, labels: Path, classes: Sequence[str]) -> None:
        """Read both files. Raises ValueError or OSError if they do not hold images and one label for each."""
        self._images, self.targets = read_idx(images, 3), read_idx(labels, 1).tolist()
        self.classes = classes  #: their names
        if len(self._images) != len(self.targets):
            raise ValueError(f"{len(self._images)} images in {shown_path(images)}, and {len(self.targets)} labels")

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return as_image(self._images[row]), self.targets[row]


def find_idx(folders: Sequence[Path], prefix: str) -> tuple[Path, Path] | None:
    """Return the files of images and labels of a part whose names begin with ``prefix``; None if there are none."""
    for folder in folders:
        images, labels = (
            next(_list_existing(folder, f"{prefix}-{what}"), None) for what in ("images-idx3", "labels-idx1")
        )
        if images is not None and labels is not None:
            return images, labels
    return None


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read bytes with this number of dimensions. Raises ValueError, OSError or EOFError if the file holds others."""
    header = struct.Struct(f">HBB{dimensions}I")
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        head = file.read(header.size)
        if len(head) < header.size:
            raise ValueError(f"{shown_path(path)} is cut off in its header")
        zeros, kind, num_dimensions, *shape = header.unpack(head)
        if (zeros, kind, num_dimensions) != (0, 8, dimensions):
            raise ValueError(f"{shown_path(path)} is no idx file of bytes with {dimensions} dimensions")
        num_bytes = math.prod(shape)
        if num_bytes > MAX_BYTES or 0 in shape:
            raise ValueError(f"{shown_path(path)} has the shape {shape}")
        content = file.read(num_bytes + 1)
    if len(content) != num_bytes:
        raise ValueError(f"{shown_path(path)} has another number of bytes than its shape {shape} needs")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _list_existing(folder: Path, name: str) -> Iterator[Path]:
    for spelling in (name, name.replace("-idx", ".idx")):
        yield from (path for suffix in ("", ".gz") if (path := folder / f"{spelling}-ubyte{suffix}").is_file())
