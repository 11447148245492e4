"""A folder of images as data: listed, divided, decoded once and kept as prepared data."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluators.data.data_home import place
from evaluators.data.identities import verification_pairs
from evaluators.data.image_listing import Labelled, Listing, listed
from evaluators.data.image_parts import SPLIT_SEED, Parts, classes_apart, identities_apart
from evaluators.data.images import Box, BrokenImage, decoded
from evaluators.data.prepared import Content, Prepared, Sample, listing, prepared
from evaluators.splits import Split, Splits
from primitives.errors import UserError
from primitives.nearest import shown


@dataclass(frozen=True)
class ImageFolder:
    """A folder, and how its images are read."""

    folder: Path
    size: int = 32  #: pixels each way
    grey: bool = False
    broken: Literal["skip", "refuse"] = "skip"  #: what is done about files that give no image
    verification: bool = False  #: whether parts have identities of their own

    def divided(self) -> tuple[Listing, Parts]:
        """The images that the folder has, and those of each part. Raises UserError where it cannot be divided."""
        found = listed(self.folder, identities=self.verification)
        return identities_apart(found) if self.verification else (found, classes_apart(found))

    def training_classes(self) -> int:
        """Classes that are trained on."""
        found, parts = self.divided()
        return len({index for _, index in parts["train"]}) if self.verification else len(found.classes)

    def load(self) -> Splits:
        """The parts for training and for validation. Raises UserError."""
        data = self.prepared()
        return Splits(data.split("train"), self._verified(data, "validation"))

    def load_test(self) -> Split:
        """The part for the last word. Raises UserError."""
        return self._verified(self.prepared(), "test")

    def _verified(self, data: Prepared, part: str) -> Split:
        split = data.split(part)
        pairs = verification_pairs(split.targets, SPLIT_SEED, part) if self.verification else None
        return data.split(part, pairs)

    def prepared(self) -> Prepared:
        """All parts, decoded. Warns of what was left out; raises UserError where a class lost all images of a part."""
        found, parts = self.divided()
        data = prepared_images(self.folder.name, found.folder, found.classes, parts, self)
        if found.outside:
            warnings.warn(
                f"Links that leave {place(found.folder)} were not followed: {found.outside}.", UserWarning, stacklevel=2
            )
        if not self.verification:
            _require_every_class(data)
        return data


def prepared_images(
    name: str, folder: Path, classes: Iterable[str], parts: Parts, options: ImageFolder, box: Box | None = None
) -> Prepared:
    """The images of all parts, decoded. Warns of broken files, or raises UserError, as the options say."""
    order = {
        part: [(file.relative_to(folder).as_posix(), index) for file, index in each] for part, each in parts.items()
    }
    decides = {
        "folder": str(folder.resolve()),
        "files": listing(folder, (file for each in parts.values() for file, _ in each)),
        "parts": order,
        "how": [options.size, options.grey, options.broken, box],
    }

    def content() -> Content:
        skipped: list[str] = []
        drawn = {part: _samples(each, folder, options, box, skipped) for part, each in parts.items()}
        return Content(tuple(classes), drawn, skipped)

    data = prepared(name, decides, content)
    skipped = data.about["skipped"]
    if skipped:
        warnings.warn(
            f"Broken files in {place(folder)} were skipped: {len(skipped)}, such as {shown(skipped[0], 160)}.",
            UserWarning,
            stacklevel=3,
        )
    return data


def _samples(
    files: Iterable[Labelled], folder: Path, options: ImageFolder, box: Box | None, skipped: list[str]
) -> Iterator[Sample]:
    """The images of files; names of broken ones are added to ``skipped``, or refused after the last was read."""
    for file, index in files:
        try:
            yield decoded(file, options.size, options.grey, box), index
        except BrokenImage as broken:
            skipped.append(f"{file.relative_to(folder).as_posix()} ({broken})")
    if skipped and options.broken == "refuse":
        names = ", ".join(shown(name, 160) for name in skipped[:5])
        raise UserError(
            f"Expected images in {place(folder)}, got broken files: {len(skipped)}, such as {names}. Remove them, or "
            "say broken = 'skip'."
        )


def _require_every_class(data: Prepared) -> None:
    """Raise UserError where a class is missing from a part, as where all its files there are broken."""
    for part in data.about["parts"]:
        for name, count in zip(data.about["classes"], data.counts(part), strict=True):
            if count == 0:
                raise UserError(
                    f"Expected images of every class in every part, got none of class {shown(name)!r} in {part} that "
                    "can be read. Add images, or remove the class."
                )
