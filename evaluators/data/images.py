"""Image files as square arrays of bytes, decoded by Pillow, and what happens to broken files.

Nothing in a file is executed: only formats that Pillow decodes itself are opened. Published data may have a few broken
images, which are left out and named.
"""

import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from lossearch.evaluators.data.data_home import shown_path
from lossearch.evaluators.data.prepared import Prepared, Sample
from lossearch.primitives.errors import UserError, shown

#: Pillow's own decoders. Others start programs (EPS) or hold several images.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm")
)

#: Suffixes of files that may have more than 8 bits per channel.
_WIDE_SUFFIXES = frozenset((".png", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"))

#: Bits of a channel that cameras and scanners use.
_BITS = (8, 10, 12, 14, 16)

#: At most this many bytes are decoded of an image. Files of a few kilobytes can hold much more.
MAX_BYTES = 2**28

#: Mean brightness of opaque pixels, of 255. A transparent picture that is brighter is put on black, others on white.
_BRIGHT = 170

#: Pillow's names of the layouts of 16-bit channels, of which it keeps the upper bytes, and those of the lower bytes.
_LOWER_BYTES = {
    f"{channels};16{upper}": f"{channels};16{lower}"
    for channels in ("RGB", "RGBA")
    for upper, lower in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}

#: The tag of EXIF that says how a camera was held.
_ORIENTATION = 0x0112

#: The value of mask pixels without a class, and their target.
UNLABELLED, IGNORED = 255, -1

#: At most one image in this many may be broken in a part of published data.
ONE_IN = 1_000

#: Left, upper, right and lower edge, in pixels.
Box = tuple[int, int, int, int]

_Item = TypeVar("_Item")


class BrokenImage(Exception):
    """A file that holds no image. The message is the reason."""


def decode(
    path: Path, size: int, grey: bool = False, box: Box | None = None, bits: int | None = None
) -> NDArray[np.uint8]:
    """Decode a file, turn the image upright (EXIF) and :func:`fit` it: [1 or 3, size, size].

    The first picture of an animation is taken. ``bits`` is the number of bits that the channels of a 16-bit file use,
    see :func:`find_used_bits`. Raises BrokenImage if the file holds no image, and UserError if it cannot be read. An
    image of more than ``PIL.Image.MAX_IMAGE_PIXELS`` pixels is taken for a decompression bomb.
    """
    with _as_broken(path), Image.open(path, formats=FORMATS) as image:
        if box is None:
            image.draft(None, (2 * size, 2 * size))  # decodes a large JPEG at a fraction of its size
        _require_moderate(image)
        narrow = _with_eight_bits(image, bits)
        orientation = image.getexif().get(_ORIENTATION)
        if narrow is not image and orientation in range(2, 9):
            narrow.getexif()[_ORIENTATION] = orientation
        return fit(ImageOps.exif_transpose(narrow), size, grey, box)


def find_used_bits(paths: Iterable[Path]) -> int | None:
    """Return the number of bits that the channels of 16-bit files use, over all these files; None without such files.

    Scanners write 8 or 12 bits into files of 16. One scale for all files keeps dark images dark.
    """
    largest = None
    for path in paths:
        if path.suffix.lower() in _WIDE_SUFFIXES:
            with suppress(BrokenImage), _as_broken(path), Image.open(path, formats=FORMATS) as image:
                if _is_wide(image):
                    _require_moderate(image)
                    largest = max(largest or 0, _find_largest(_read_wide(image)))
    return None if largest is None else _round_bits(largest)


def decode_pair(image: Path, mask: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Decode the files of an image and its mask as stored, without regard to EXIF. Raises BrokenImage."""
    with _as_broken(image), Image.open(image, formats=FORMATS) as picture, Image.open(mask, formats=FORMATS) as classes:
        return fit_pair(picture, classes, size)


def fit(image: Image.Image, size: int, grey: bool = False, box: Box | None = None) -> NDArray[np.uint8]:
    """Scale the central square of an image, or of the box in it, to [1 or 3, size, size].

    The result equals scaling the shorter side to ``size`` and cropping the center. Pixels outside are not scaled.
    """
    image = _with_eight_bits(image)
    image = image if box is None else image.crop(box)
    if _is_transparent(image):
        image = _composite(ImageOps.fit(image.convert("RGBA"), (size, size), Image.Resampling.BILINEAR))
    pixels = np.asarray(ImageOps.fit(image.convert("L" if grey else "RGB"), (size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels.reshape(size, size, -1).transpose(2, 0, 1))


def as_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return an array of bytes as Pillow's image, grey [height, width] or with channels last."""
    return Image.fromarray(pixels)


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


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _composite(image: Image.Image) -> Image.Image:
    """Put an image with transparent pixels, of mode RGBA, on white, or on black if what it shows is bright.

    So what an image shows differs from its background, whatever its colors. An image that is all transparent is taken
    for an opaque one, whose program wrote no transparency.
    """
    opaque = image.convert("RGB")
    alpha = np.asarray(image.getchannel("A"), np.float64)
    if not alpha.any():
        return opaque
    brightness = float((np.asarray(opaque.convert("L")) * alpha).sum() / alpha.sum())
    background = Image.new("RGB", image.size, "black" if brightness > _BRIGHT else "white")
    background.paste(opaque, mask=image.getchannel("A"))
    return background


def _require_moderate(image: Image.Image) -> None:
    """Raise BrokenImage if decoding the image would fill the memory."""
    num_bytes = image.width * image.height * len(image.getbands()) * (4 if image.mode == "F" or _is_wide(image) else 1)
    if num_bytes > MAX_BYTES:
        raise BrokenImage(f"{image.width}x{image.height} pixels, more than {MAX_BYTES:,} bytes")


def _with_eight_bits(image: Image.Image, bits: int | None = None) -> Image.Image:
    """Reduce an image to 8 bits per channel: Pillow's own conversion would clip 16 bits, or keep the upper 8.

    ``bits`` is the number of bits that its channels use; None: as its largest value needs.
    """
    if image.mode == "F":
        raise BrokenImage("floating-point pixels have no known range")
    if not _is_wide(image):
        return image
    wide = _read_wide(image)
    shift = (bits or _round_bits(_find_largest(wide))) - 8
    channels = np.minimum(wide >> shift, 255).astype(np.uint8)
    if channels.ndim == 3 and channels.shape[2] == 4:
        channels[..., -1] = wide[..., -1] >> 8  # transparency has the whole range
    return Image.fromarray(channels)


def _find_largest(wide: NDArray[np.uint16]) -> int:
    """Find the largest value, apart from transparency."""
    return int((wide[..., :3] if wide.ndim == 3 else wide).max())


def _round_bits(largest: int) -> int:
    return next(bits for bits in _BITS if largest < 2**bits)


def _is_wide(image: Image.Image) -> bool:
    """Return True for an image of 16 bits per channel."""
    is_wide = image.mode == "I" or image.mode.startswith("I;16")
    return is_wide or _find_lower_bytes(image) is not None or _find_wide_ppm(image) is not None


def _find_lower_bytes(image: Image.Image) -> list[Any] | None:
    """Return what Pillow must decode for the lower bytes of 16-bit channels; None for another image."""
    tiles = []
    for codec, extents, offset, arguments in getattr(image, "tile", ()):
        mode, *rest = [arguments] if isinstance(arguments, str) else list(arguments or [""])
        if not isinstance(mode, str) or mode not in _LOWER_BYTES:
            return None
        lower = _LOWER_BYTES[mode]
        tiles.append((codec, extents, offset, lower if isinstance(arguments, str) else (lower, *rest)))
    return tiles or None


def _read_wide(image: Image.Image) -> NDArray[np.uint16]:
    """Read an image of 16 bits per channel: [height, width] or [height, width, channels]."""
    ppm, lower_bytes = _find_wide_ppm(image), _find_lower_bytes(image)
    if ppm is not None:
        return _read_wide_ppm(image, *ppm)
    if lower_bytes is None:
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() >= 2**16:
            raise BrokenImage("pixels of more than 16 bits have no known range")
        return wide.astype(np.uint16)
    source = image.filename if isinstance(image, ImageFile.ImageFile) else ""
    with Image.open(source, formats=FORMATS) as second:
        second.tile = lower_bytes
        lower = np.asarray(second)
    return (np.asarray(image).astype(np.uint16) << 8) | lower


def _find_wide_ppm(image: Image.Image) -> tuple[bool, int, int] | None:
    """Return where the pixels of a PPM file of 16 bits begin, as Pillow keeps the upper 8; None for other files.

    The three values are: True for numbers in text (P3), the offset in the file, and the largest value, by its header.
    """
    tiles: Any = getattr(image, "tile", ())
    if image.mode != "RGB" or getattr(image, "format", None) != "PPM" or len(tiles) != 1:
        return None
    codec, _, offset, arguments = tiles[0]
    *_, largest = [arguments] if isinstance(arguments, str) else list(arguments or [""])
    return (codec == "ppm_plain", offset, largest) if isinstance(largest, int) and largest > 255 else None


def _read_wide_ppm(image: Image.Image, is_text: bool, offset: int, largest: int) -> NDArray[np.uint16]:
    """Read the pixels of a PPM file of 16 bits, scaled so that its ``largest`` value is 65,535."""
    count = image.width * image.height * 3
    with open(getattr(image, "filename", ""), "rb") as file:
        file.seek(offset)
        if is_text:
            words = re.sub(rb"#[^\r\n]*", b"", file.read(MAX_BYTES)).split(maxsplit=count)[:count]
            values = np.array([int(word) for word in words], np.int64)
        else:
            values = np.frombuffer(file.read(2 * count), ">u2").astype(np.int64)
    if len(values) < count or values.min() < 0 or values.max() > largest:
        raise BrokenImage(f"expected {count:,} values from 0 to {largest}, got {len(values):,}, or others")
    return (values * 65_535 // largest).astype(np.uint16).reshape(image.height, image.width, 3)


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
