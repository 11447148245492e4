"""A folder of images as data: listed once, divided, decoded once and kept as prepared data.

All parts of one ImageFolder come from one listing, so that within a process nothing mixes. Another listing, of another
process or of a later run, sees what was added or removed meanwhile: parts are cut in the order of hashes of paths, so
that for each class one file more or fewer moves one file at most over each border between two parts. Only a folder
that is split into train, validation and test keeps its parts whatever is added.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from lossearch.evaluators.data.data_home import listing, place
from lossearch.evaluators.data.identities import verification_pairs
from lossearch.evaluators.data.image_listing import Labelled, Listing, listed
from lossearch.evaluators.data.image_parts import Parts, classes_apart, identities_apart
from lossearch.evaluators.data.images import Box, BrokenImage, decoded, warn_of_skipped
from lossearch.evaluators.data.parts import SPLIT_SEED
from lossearch.evaluators.data.prepared import Content, Prepared, Sample, prepared
from lossearch.evaluators.data.splits import Split, Splits
from lossearch.primitives.errors import UserError, shown


@dataclass(frozen=True)
class ImageFolder:
    """A folder, and how its images are read."""

    folder: Path
    size: int = 32  #: pixels each way
    grey: bool = False
    broken: Literal["skip", "refuse"] = "skip"  #: what is done about files that give no image
    verification: bool = False  #: whether parts have identities of their own
    people: str | None = None  #: how names of files start, as a pattern, that tell whom they show

    @cached_property
    def divided(self) -> tuple[Listing, Parts]:
        """The images that the folder has, and those of each part. Raises UserError where it cannot be divided."""
        found = listed(self.folder, identities=self.verification)
        return identities_apart(found) if self.verification else (found, classes_apart(found, self.people))

    @property
    def training_classes(self) -> int:
        """Classes that are trained on."""
        found, parts = self.divided
        return len({index for _, index in parts["train"]}) if self.verification else len(found.classes)

    @cached_property
    def data(self) -> Prepared:
        """All parts, decoded. Warns of what was left out; raises UserError where a class lost all images of a part."""
        found, parts = self.divided
        data = prepared_images(self.folder.name, found.folder, found.classes, parts, self)
        warn_of_left_out(found)
        if not self.verification:
            _require_every_class(data)
        return data

    def load(self) -> Splits:
        """The parts for training and for validation. Raises UserError."""
        return Splits(self.data.split("train"), self._verified("validation"))

    def load_test(self) -> Split:
        """The part for the last word. Raises UserError."""
        return self._verified("test")

    def _verified(self, part: str) -> Split:
        split = self.data.split(part)
        pairs = verification_pairs(split.targets, SPLIT_SEED, part) if self.verification else None
        return self.data.split(part, pairs)


def prepared_images(
    name: str, folder: Path, classes: Iterable[str], parts: Parts, options: ImageFolder, box: Box | None = None
) -> Prepared:
    """The images of all parts, decoded. Warns of broken files, or raises UserError, as the options say."""
    names = {part: [(file.relative_to(folder).as_posix(), index) for file, index in all] for part, all in parts.items()}
    decides = {
        "folder": str(folder.resolve()),
        "files": listing(folder, (file for each in parts.values() for file, _ in each)),
        "parts": names,
        "how": [options.size, options.grey, box],
    }

    def content() -> Content:
        skipped: list[str] = []
        drawn = {part: _samples(each, folder, options, box, skipped) for part, each in parts.items()}
        return Content(tuple(classes), drawn, skipped)

    data = prepared(name, decides, content)
    if options.broken == "refuse":
        _require_none_broken(data.about["skipped"], folder)
    warn_of_skipped(data, folder)
    return data


def warn_of_left_out(found: Listing) -> None:
    """Warn of what lies in a folder of images and is in no part."""
    if found.left_out:
        counts = ", ".join(f"{count} {what}" for what, count in found.left_out.items())
        warnings.warn(f"Of what is in {place(found.folder)} is left out: {counts}.", UserWarning, stacklevel=4)


def _samples(
    files: Iterable[Labelled], folder: Path, options: ImageFolder, box: Box | None, skipped: list[str]
) -> Iterator[Sample]:
    """The images of files; names of broken ones are added to ``skipped``."""
    for file, index in files:
        try:
            image = decoded(file, options.size, options.grey, box)
        except BrokenImage as broken:
            skipped.append(f"{file.relative_to(folder).as_posix()} ({broken})")
        else:
            yield image, index


def _require_none_broken(skipped: list[str], folder: Path) -> None:
    if skipped:
        names = ", ".join(shown(name, 160) for name in skipped[:5])
        raise UserError(
            f"Expected images in {place(folder)}, got broken files: {len(skipped)}, such as {names}. Remove them, or "
            "say broken = 'skip'."
        )


def _require_every_class(data: Prepared) -> None:
    """Raise UserError where a class is missing from a part, as where all its files there are broken."""
    for part in data.about["parts"]:
        absent = data.absent(part)
        if absent:
            raise UserError(
                f"Expected images of every class in every part, got none of class {shown(absent[0])!r} in {part} that "
                "can be read. Add images, or remove the class."
            )
