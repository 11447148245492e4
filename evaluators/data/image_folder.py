"""A folder of images as data: listed once, divided, decoded once and kept as prepared data.

All parts of one ImageFolder come from one listing, so that parts never mix within a process. A listing of another
process or a later run sees files that were added or removed meanwhile. Parts are cut in the order of hashes of paths:
one more or one fewer file of a class moves at most one file over each border between two parts. Only a folder that is
split into train, validation and test keeps its parts whatever is added.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from lossearch.evaluators.data.data_home import list_files, shown_path
from lossearch.evaluators.data.image_listing import ImageListing, Labelled, list_images
from lossearch.evaluators.data.image_parts import Parts, divide_by_class, divide_by_identity
from lossearch.evaluators.data.images import Box, BrokenImage, decode, find_used_bits, warn_of_skipped
from lossearch.evaluators.data.pairs import draw_verification_pairs
from lossearch.evaluators.data.parts import SPLIT_SEED
from lossearch.evaluators.data.prepared import Content, Prepared, Sample, prepare
from lossearch.evaluators.data.splits import Split, Splits, warn_of_shared
from lossearch.primitives.errors import UserError, shown


@dataclass(frozen=True)
class ImageFolder:
    """A folder, and how to read its images."""

    folder: Path
    size: int = 32  #: pixels each way
    grey: bool = False
    broken: Literal["skip", "refuse"] = "skip"  #: treatment of files that are no image
    verification: bool = False  #: True if each part has identities of its own
    people: str | None = None  #: pattern of the start of a file name that names the person shown

    @cached_property
    def divided(self) -> tuple[ImageListing, Parts]:
        """The images of the folder, and those of each part. Raises UserError if it cannot be divided."""
        listing = list_images(self.folder, identities=self.verification)
        return divide_by_identity(listing) if self.verification else (listing, divide_by_class(listing, self.people))

    @property
    def training_classes(self) -> int:
        """Number of classes to train on."""
        listing, parts = self.divided
        return len({index for _, index in parts["train"]}) if self.verification else len(listing.classes)

    @cached_property
    def data(self) -> Prepared:
        """All parts, decoded. Warns of files that are left out. Raises UserError if a part has no image of a class."""
        listing, parts = self.divided
        data = prepare_images(self.folder.name, listing.folder, listing.classes, parts, self)
        warn_of_left_out(listing)
        if not self.verification:
            _require_every_class(data)
        parts_of_data = {part: data.split(part) for part in parts}
        warn_of_shared(listing.folder, parts_of_data, "Remove the copies, or put all copies of an image into one part.")
        return data

    def load(self) -> Splits:
        """Load the parts that train and validate. Raises UserError."""
        return Splits(self.data.split("train"), self._load_with_pairs("validation"))

    def load_test(self) -> Split:
        """Load the test part. Raises UserError."""
        return self._load_with_pairs("test")

    def _load_with_pairs(self, part: str) -> Split:
        split = self.data.split(part)
        pairs = draw_verification_pairs(split.targets, SPLIT_SEED, part) if self.verification else None
        return self.data.split(part, pairs)


def prepare_images(
    name: str, folder: Path, classes: Iterable[str], parts: Parts, options: ImageFolder, box: Box | None = None
) -> Prepared:
    """Decode the images of all parts. Warns of broken files, or raises UserError, as ``options.broken`` sets."""
    decides = {
        "folder": str(folder.resolve()),
        "files": list_files(folder, (file for files in parts.values() for file, _ in files)),
        "parts": {
            part: [(file.relative_to(folder).as_posix(), index) for file, index in files]
            for part, files in parts.items()
        },
        "how": [options.size, options.grey, box],
    }

    def content() -> Content:
        skipped: list[str] = []
        bits = find_used_bits(file for files in parts.values() for file, _ in files)
        samples = {part: _decode_samples(files, folder, options, box, bits, skipped) for part, files in parts.items()}
        return Content(tuple(classes), samples, skipped)

    data = prepare(name, decides, content)
    if options.broken == "refuse":
        _require_none_broken(data.about["skipped"], folder)
    warn_of_skipped(data, folder)
    return data


def warn_of_left_out(listing: ImageListing) -> None:
    """Warn of the contents of a folder that are in no part."""
    if listing.left_out:
        counts = ", ".join(f"{count} {kind}" for kind, count in listing.left_out.items())
        warnings.warn(f"Left out of {shown_path(listing.folder)}: {counts}.", UserWarning, stacklevel=4)


def _decode_samples(
    files: Iterable[Labelled],
    folder: Path,
    options: ImageFolder,
    box: Box | None,
    bits: int | None,
    skipped: list[str],
) -> Iterator[Sample]:
    """Decode the images of files, and add the names of broken files to ``skipped``."""
    for file, index in files:
        try:
            image = decode(file, options.size, options.grey, box, bits)
        except BrokenImage as broken:
            skipped.append(f"{file.relative_to(folder).as_posix()} ({broken})")
        else:
            yield image, index


def _require_none_broken(skipped: list[str], folder: Path) -> None:
    if skipped:
        names = ", ".join(shown(name, 160) for name in skipped[:5])
        raise UserError(
            f"Expected images in {shown_path(folder)}, got broken files: {len(skipped)}, such as {names}. Remove "
            "them, or set broken = 'skip'."
        )


def _require_every_class(data: Prepared) -> None:
    """Raise UserError if a part lacks a class, for example because all its files there are broken."""
    for part in data.about["parts"]:
        absent = data.absent(part)
        if absent:
            raise UserError(
                f"Expected images of every class in every part, got no readable image of class {shown(absent[0])!r} "
                f"in {part}. Add images, or remove the class."
            )
