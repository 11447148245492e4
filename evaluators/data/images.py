"""Image files as square arrays of bytes, decoded by Pillow, and what happens to broken files.

Nothing in a file is executed: only formats that Pillow decodes itself are opened. Published data may have a few broken
images, which are left out and named.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lossearch.evaluators.data.data_home import shown_path
from lossearch.evaluators.data.prepared import Prepared, Sample
from lossearch.primitives.errors import UserError, shown

#: Pillow's own decoders. Others start programs (EPS) or hold several images.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))

#: The value of mask pixels without a class, and their target.
UNLABELLED, IGNORED = 255, -1

#: At most one image in this many may be broken in a part of published data.
ONE_IN = 1_000

#: Left, upper, right and lower edge, in pixels.
Box = tuple[int, int, int, int]

_Item = TypeVar("_Item")


class BrokenImage(Exception):
    """A file that holds no image. The message is the reason."""


def decode(path: Path, size: int, grey: bool = False, box: Box | None = None) -> NDArray[np.uint8]:
    """Decode a file, turn the image upright (EXIF) and :func:`fit` it: [1 or 3, size, size].

    Raises BrokenImage if the file holds no image, and UserError if it cannot be read. An image of more than
    ``PIL.Image.MAX_IMAGE_PIXELS`` pixels is taken for a decompression bomb.
    """
    with _as_broken(path), Image.open(path, formats=FORMATS) as image:
        if box is None:
            image.draft(None, (2 * size, 2 * size))  # decodes a large JPEG at a fraction of its size
        return fit(ImageOps.exif_transpose(image), size, grey, box)


def decode_pair(image: Path, mask: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Decode the files of an image and its mask as stored, without regard to EXIF. Raises BrokenImage."""
    with _as_broken(image), Image.open(image, formats=FORMATS) as picture, Image.open(mask, formats=FORMATS) as classes:
        return fit_pair(picture, classes, size)


def fit(image: Image.Image, size: int, grey: bool = False, box: Box | None = None) -> NDArray[np.uint8]:
    """Scale the central square of an image, or of the box in it, to [1 or 3, size, size].

    The result equals scaling the shorter side to ``size`` and cropping the center. Pixels outside are not scaled.
    """
    image = _with_eight_bits(image).convert("L" if grey else "RGB")
    image = image if box is None else image.crop(box)
    pixels = np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels.reshape(size, size, -1).transpose(2, 0, 1))


def fit_pair(image: Image.Image, mask: Image.Image, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Fit an image and its mask alike: [3, size, size] and [size, size]. Raises BrokenImage if their sizes differ."""
    if image.size != mask.size:
        raise BrokenImage(f"the image has {image.size} pixels, its mask {mask.size}")
    return fit(image, size), fit_mask(mask, size)


def fit_mask(mask: Image.Image, size: int) -> NDArray[np.int64]:
    """Crop a mask of bytes as :func:`fit` does, with nearest pixels: class indices [size, size], -1 for ignored pixels.

    Raises BrokenImage if its pixels are not bytes.
    """
    if mask.mode not in ("L", "P"):
        raise BrokenImage(f"expected a mask of one byte per pixel, got mode {mask.mode}")
    indices = np.asarray(ImageOps.fit(mask, (size, size), Image.Resampling.NEAREST)).astype(np.int64)
    return np.where(indices == UNLABELLED, IGNORED, indices)


def _with_eight_bits(image: Image.Image) -> Image.Image:
    """Reduce an image to 8 bits per channel: Pillow's own conversion would clip channels of 16 bits."""
    if image.mode == "F":
        raise BrokenImage("floating-point pixels have no known range")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    wide: NDArray[Any] = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() >= 2**16:
        raise BrokenImage("pixels of more than 16 bits have no known range")
    return Image.fromarray((wide >> 8).astype(np.uint8))


@contextmanager
def _as_broken(path: Path) -> Iterator[None]:
    """Turn every error that the content of a file causes into BrokenImage.

    An error of the system says nothing about the image, for example a file that cannot be opened or a lack of memory:
    it becomes a UserError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except (BrokenImage, UserError):
            raise
        except UnidentifiedImageError:
            raise BrokenImage(f"no image of a known format ({', '.join(FORMATS)})") from None
        except MemoryError:
            raise UserError(
                f"Expected to read {shown_path(path)}, got: out of memory. Free some, and start again."
            ) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                where = shown_path(Path(error.filename or path))
                raise UserError(
                    f"Expected to read {where}, got: {error.strerror}. Fix this, and start again."
                ) from None
            raise BrokenImage(f"{type(error).__name__}: {error}".splitlines()[0]) from None


def sound_samples(
    items: Sequence[_Item], sample: Callable[[_Item], Sample], name: Callable[[_Item], str], skipped: list[str]
) -> Iterator[Sample]:
    """Yield the samples of a part, and add the names of broken ones to ``skipped``.

    Raises BrokenImage, with the name, as soon as more than one in a thousand is broken.
    """
    num_broken = 0
    for item in items:
        try:
            decoded = sample(item)
        except BrokenImage as broken:
            num_broken += 1
            if num_broken * ONE_IN > len(items):
                raise BrokenImage(f"{name(item)}: {broken}") from None
            skipped.append(f"{name(item)} ({broken})")
        else:
            yield decoded


def warn_of_skipped(data: Prepared, folder: Path) -> None:
    """Warn of broken files that prepared data leaves out."""
    skipped = data.about["skipped"]
    if skipped:
        warnings.warn(
            f"Broken files in {shown_path(folder)} were skipped: {len(skipped)}, such as {shown(skipped[0], 160)}.",
            UserWarning,
            stacklevel=4,
        )
