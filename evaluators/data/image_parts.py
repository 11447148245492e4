"""Division of a folder of images into train, validation and test: by class, by person, or by identity.

Half of each class trains, a quarter validates, a quarter tests, unless the folder is split.
"""

import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lossearch.evaluators.data.data_home import shown_path
from lossearch.evaluators.data.image_listing import ImageListing, Labelled
from lossearch.evaluators.data.parts import HELD_OUT, PARTS, SHARES, cut, sort_by_hash
from lossearch.primitives.errors import UserError, shown

#: Images of each part.
Parts = dict[str, list[Labelled]]

#: Divides images into parts of these names and shares.
Divide = Callable[[list[Labelled], tuple[str, ...], tuple[float, ...]], Parts]


def divide_by_class(listing: ImageListing, people: str | None = None) -> Parts:
    """Divide the images so that each part has images of every class.

    ``people`` is a pattern of the start of a file name that names the person shown: nobody is then in two parts. Warns
    of files that do not match it. Raises UserError if a class has too few images, or if a split folder has a person in
    two parts.
    """
    _require_enough(listing)
    divide = _divide_by_class(listing) if people is None else _divide_by_person(listing, people)
    if not listing.is_split:
        return divide(listing.parts["all"], PARTS, SHARES)
    parts = dict(listing.parts)
    if people is not None:
        _require_people_apart(listing, people)
    if "validation" not in parts:
        parts |= divide(parts["train"], PARTS[:2], HELD_OUT)
    return {part: parts[part] for part in PARTS}


def divide_by_identity(listing: ImageListing) -> tuple[ImageListing, Parts]:
    """Divide the images so that each identity is in one part, and number those of train from 0 on in the listing.

    Identities with one image cannot be verified, so they train. Raises UserError if fewer than two identities of a part
    have two images.
    """
    identities = _read_identities(listing) if listing.is_split else _draw_identities(listing)
    order = [old for part in PARTS for old in sorted(identities[part])]
    number = {old: new for new, old in enumerate(order)}
    images = [(file, number[old]) for files in listing.parts.values() for file, old in files]
    parts = {part: [(file, index) for file, index in images if order[index] in identities[part]] for part in PARTS}
    for part, files in parts.items():
        num_identities = sum(size >= 2 for size in Counter(index for _, index in files).values())
        if num_identities < 2:
            raise UserError(
                f"Expected at least two identities with two images each in {part}, got {num_identities} in "
                f"{shown_path(listing.folder)}. Add images of more identities: eight are enough, half of them for "
                "training."
            )
    return replace(listing, classes=tuple(listing.classes[old] for old in order)), parts


def _read_identities(listing: ImageListing) -> dict[str, set[int]]:
    if "validation" not in listing.parts:
        raise UserError(
            f"Expected identities for validation in {shown_path(listing.folder)}, got only train and test. Add a "
            "subfolder validation with identities of its own."
        )
    return {part: {index for _, index in files} for part, files in listing.parts.items()}


def _draw_identities(listing: ImageListing) -> dict[str, set[int]]:
    sizes = dict(zip(listing.classes, listing.sizes("all"), strict=True))
    index = {name: number for number, name in enumerate(listing.classes)}
    drawn = cut((name for name, size in sizes.items() if size >= 2), SHARES)
    identities = {part: {index[name] for name in names} for part, names in zip(PARTS, drawn, strict=True)}
    identities["train"] |= {index[name] for name, size in sizes.items() if size == 1}
    return identities


def _require_enough(listing: ImageListing) -> None:
    """Raise UserError if a part would lack a class."""
    for part in listing.parts:
        fewest, where = 1, f" in {part}"
        if part == "all":
            fewest, where = len(PARTS) + 1, ""
        elif part == "train" and "validation" not in listing.parts:
            fewest, where = 2, f" in {part}, of which a tenth validates"
        for name, size in zip(listing.classes, listing.sizes(part), strict=True):
            if size < fewest:
                raise UserError(
                    f"Expected at least {fewest} {'image' if fewest == 1 else 'images'} of class "
                    f"{shown(name)!r}{where}, got {size}. Add images, or remove the class."
                )


def _divide_by_class(listing: ImageListing) -> Divide:
    """Make a function that cuts the files of each class by their paths below the folder."""

    def divide(files: list[Labelled], names: tuple[str, ...], shares: tuple[float, ...]) -> Parts:
        paths, paths_by_class = [listing.name_of(file) for file, _ in files], dict[int, list[str]]()
        for path, (_, index) in zip(paths, files, strict=True):
            paths_by_class.setdefault(index, []).append(path)
        cuts = [cut(of_class, shares) for of_class in paths_by_class.values()]
        part_of = {path: names[number] for groups in cuts for number, group in enumerate(groups) for path in group}
        parts: Parts = {name: [] for name in names}
        for path, labelled in zip(paths, files, strict=True):
            parts[part_of[path]].append(labelled)
        return parts

    return divide


def _divide_by_person(listing: ImageListing, people: str) -> Divide:
    """Make a function that keeps the files of a person in one part. Files that name nobody are divided by class."""

    def divide(files: list[Labelled], names: tuple[str, ...], shares: tuple[float, ...]) -> Parts:
        person_of = {file: match[0] for file, _ in files if (match := re.match(people, file.name))}
        unnamed = [(file, index) for file, index in files if file not in person_of]
        if unnamed:
            _warn_of_unnamed(listing, [file for file, _ in unnamed])
        parts = _divide_by_class(listing)(unnamed, names, shares)
        part_of = _assign_people(Counter(person_of.values()), names, shares)
        for file, index in files:
            if file in person_of:
                parts[part_of[person_of[file]]].append((file, index))
        _require_every_class(listing, parts)
        return parts

    return divide


def _assign_people(images: Counter[str], names: tuple[str, ...], shares: tuple[float, ...]) -> dict[str, str]:
    """Assign each person to a part: in drawn order, part after part until its share of images is reached."""
    part_of, num_assigned, total = {}, 0, images.total()
    borders = [sum(shares[: place + 1]) * total for place in range(len(shares) - 1)]
    for person in sort_by_hash(images):
        middle = num_assigned + images[person] / 2
        part_of[person] = names[sum(middle > border for border in borders)]
        num_assigned += images[person]
    return part_of


def _require_people_apart(listing: ImageListing, people: str) -> None:
    part_of: dict[str, str] = {}
    for part, files in listing.parts.items():
        for file, _ in files:
            match = re.match(people, file.name)
            if match and part_of.setdefault(match[0], part) != part:
                raise UserError(
                    f"Expected every person of {shown_path(listing.folder)} in one part, got {shown(match[0])!r} in "
                    f"{part_of[match[0]]} and {part}. Move all images of a person to one part."
                )


def _warn_of_unnamed(listing: ImageListing, files: list[Path]) -> None:
    warnings.warn(
        f"{len(files)} file names in {shown_path(listing.folder)} name no person, such as "
        f"{shown(listing.name_of(files[0]), 160)}: one person may be in several parts.",
        UserWarning,
        stacklevel=5,
    )


def _require_every_class(listing: ImageListing, parts: Parts) -> None:
    for part, files in parts.items():
        missing = set(range(len(listing.classes))) - {index for _, index in files}
        if missing:
            raise UserError(
                f"Expected images of every class in every part of {shown_path(listing.folder)}, got none of class "
                f"{shown(listing.classes[min(missing)])!r} in {part}, because each person is in one part. Add images "
                "of more people, or split the folder into train, validation and test."
            )
