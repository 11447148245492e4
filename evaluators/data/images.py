"""Images: a file as bytes of a square image, by Pillow, whatever the file holds.

Nothing that a file says is executed: only formats that Pillow decodes itself are opened.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lossearch.evaluators.data.data_home import place
from lossearch.evaluators.data.prepared import Prepared, Sample
from lossearch.primitives.errors import UserError, shown

#: Pillow's own decoders; others start programs (EPS) or hold several images.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))

#: The class of pixels that masks leave out, and what it is in targets.
UNLABELLED, IGNORED = 255, -1

#: Left, upper, right and lower edge, in pixels.
Box = tuple[int, int, int, int]


class BrokenImage(Exception):
    """A file that gives no image; the message is the reason."""


def decoded(path: Path, size: int, grey: bool = False, box: Box | None = None) -> NDArray[np.uint8]:
    """The image of a file as it is meant to be looked at (EXIF), :func:`fitted`.

    Raises BrokenImage where the file gives none, and UserError where it cannot be read. Images of more than
    ``PIL.Image.MAX_IMAGE_PIXELS`` pixels are taken for decompression bombs.
    """
    with _as_broken(path), Image.open(path, formats=FORMATS) as image:
        if box is None:
            image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size
        return fitted(ImageOps.exif_transpose(image), size, grey, box)


@contextmanager
def _as_broken(path: Path) -> Iterator[None]:
    """Raise as BrokenImage whatever a file's content leads decoders to raise.

    What the system says, that a file cannot be opened or memory is short, says nothing of the image: a UserError.
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
                f"Expected to read {place(path)}, got: out of memory. Free some, and start again."
            ) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                where = place(Path(error.filename or path))
                raise UserError(
                    f"Expected to read {where}, got: {error.strerror}. Mend that, and start again."
                ) from None
            raise BrokenImage(f"{type(error).__name__}: {error}".splitlines()[0]) from None


def fitted(image: Image.Image, size: int, grey: bool = False, box: Box | None = None) -> NDArray[np.uint8]:
    """The middle square of an image, or of what is in the box, as [1 or 3, size, size].

    This is to scale the shorter side to ``size`` and to crop the center, without the pixels that are cropped.
    """
    image = _eight_bits(image).convert("L" if grey else "RGB")
    image = image if box is None else image.crop(box)
    pixels = np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels.reshape(size, size, -1).transpose(2, 0, 1))


def fitted_pair(image: Image.Image, mask: Image.Image, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """An image and its mask, fitted alike. Raises BrokenImage where they are not of one size."""
    if image.size != mask.size:
        raise BrokenImage(f"the image has {image.size} pixels, its mask {mask.size}")
    return fitted(image, size), fitted_mask(mask, size)


def decoded_pair(image: Path, mask: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The image and the mask of two files, as their pixels are stored. Raises BrokenImage."""
    with _as_broken(image), Image.open(image, formats=FORMATS) as picture, Image.open(mask, formats=FORMATS) as classes:
        return fitted_pair(picture, classes, size)


def fitted_mask(mask: Image.Image, size: int) -> NDArray[np.int64]:
    """Class indices [size, size] of a mask of bytes, as :func:`fitted` crops, of the nearest pixels; 255 is ignored.

    Raises BrokenImage where its pixels are not bytes.
    """
    if mask.mode not in ("L", "P"):
        raise BrokenImage(f"a mask of one byte for each pixel was expected, not of mode {mask.mode}")
    indices = np.asarray(ImageOps.fit(mask, (size, size), Image.Resampling.NEAREST)).astype(np.int64)
    return np.where(indices == UNLABELLED, IGNORED, indices)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits for each channel: those of 16 bits would be clipped by a conversion."""
    if image.mode == "F":
        raise BrokenImage("floating-point pixels have no known range")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    wide: NDArray[Any] = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() >= 2**16:
        raise BrokenImage("pixels of more than 16 bits have no known range")
    return Image.fromarray((wide >> 8).astype(np.uint8))


# --- What is done about broken images: published data may have a few, which are left out and named.

#: Of so many images of a part one may be broken.
ONE_IN = 1_000


_Item = TypeVar("_Item")


def mostly_sound(
    items: Sequence[_Item], sample: Callable[[_Item], Sample], name: Callable[[_Item], str], skipped: list[str]
) -> Iterator[Sample]:
    """The samples of a part without those that are broken, whose names are added to ``skipped``.

    Raises BrokenImage, with the name, for the first that exceeds one in a thousand.
    """
    lost = 0
    for item in items:
        try:
            found = sample(item)
        except BrokenImage as broken:
            lost += 1
            if lost * ONE_IN > len(items):
                raise BrokenImage(f"{name(item)}: {broken}") from None
            skipped.append(f"{name(item)} ({broken})")
        else:
            yield found


def warn_of_skipped(data: Prepared, folder: Path) -> None:
    """Warn of broken files that prepared data is without."""
    skipped = data.about["skipped"]
    if skipped:
        warnings.warn(
            f"Broken files in {place(folder)} were skipped: {len(skipped)}, such as {shown(skipped[0], 160)}.",
            UserWarning,
            stacklevel=4,
        )
