"""Which images of a folder train, validate and test: divided by class, by the people on them, or by identity.

Half of each class trains, a quarter validates, a quarter tests, unless the folder is split.
"""

import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lossearch.evaluators.data.data_home import place
from lossearch.evaluators.data.image_listing import Labelled, Listing
from lossearch.evaluators.data.parts import HELD_OUT, PARTS, SHARES, cut, in_drawn_order
from lossearch.primitives.errors import UserError, shown

#: Images of each part.
Parts = dict[str, list[Labelled]]

#: Images in parts of these names and shares.
Divide = Callable[[list[Labelled], tuple[str, ...], tuple[float, ...]], Parts]


def classes_apart(found: Listing, people: str | None = None) -> Parts:
    """The parts, with images of every class in each.

    ``people`` is a pattern that starts the names of files and tells whom they show: nobody is then in two parts. Warns
    of files without it. Raises UserError where a class has too few images, or a split folder has somebody in two parts.
    """
    _require_enough(found)
    divide = _by_class(found) if people is None else _by_person(found, people)
    if not found.is_split:
        return divide(found.parts["all"], PARTS, SHARES)
    parts = dict(found.parts)
    if people is not None:
        _require_people_apart(found, people)
    if "validation" not in parts:
        parts |= divide(parts["train"], PARTS[:2], HELD_OUT)
    return {part: parts[part] for part in PARTS}


def identities_apart(found: Listing) -> tuple[Listing, Parts]:
    """The parts, each of other identities, and the listing with those of training numbered from 0 on.

    An identity with one image cannot be verified and is trained on. Raises UserError where fewer than two identities
    of a part have two images.
    """
    wanted = _identities_as_split(found) if found.is_split else _identities_drawn(found)
    order = [old for part in PARTS for old in sorted(wanted[part])]
    number = {old: new for new, old in enumerate(order)}
    files = [(file, number[old]) for each in found.parts.values() for file, old in each]
    parts = {part: [each for each in files if order[each[1]] in wanted[part]] for part in PARTS}
    for part, each in parts.items():
        able = sum(size >= 2 for size in Counter(index for _, index in each).values())
        if able < 2:
            raise UserError(
                f"Expected two identities at least with two images each in {part}, got {able} in "
                f"{place(found.folder)}. Add images of more identities: eight do, half of them for training."
            )
    return replace(found, classes=tuple(found.classes[old] for old in order)), parts


def _identities_as_split(found: Listing) -> dict[str, set[int]]:
    if "validation" not in found.parts:
        raise UserError(
            f"Expected identities for validation in {place(found.folder)}, got train and test alone. Add a subfolder "
            "validation with identities of its own."
        )
    return {part: {index for _, index in each} for part, each in found.parts.items()}


def _identities_drawn(found: Listing) -> dict[str, set[int]]:
    sizes = dict(zip(found.classes, found.sizes("all"), strict=True))
    index = {name: number for number, name in enumerate(found.classes)}
    drawn = cut((name for name, size in sizes.items() if size >= 2), SHARES)
    wanted = {part: {index[name] for name in each} for part, each in zip(PARTS, drawn, strict=True)}
    wanted["train"] |= {index[name] for name, size in sizes.items() if size == 1}
    return wanted


def _require_enough(found: Listing) -> None:
    """Raise UserError where a class would be missing from a part."""
    for part in found.parts:
        fewest, where = 1, f" in {part}"
        if part == "all":
            fewest, where = len(PARTS) + 1, ""
        elif part == "train" and "validation" not in found.parts:
            fewest, where = 2, f" in {part}, of which a tenth validates"
        for name, size in zip(found.classes, found.sizes(part), strict=True):
            if size < fewest:
                raise UserError(
                    f"Expected {fewest} {'image' if fewest == 1 else 'images'} at least of class {shown(name)!r}{where}"
                    f", got {size}. Add images, or remove the class."
                )


def _by_class(found: Listing) -> Divide:
    """Files of each class, by their paths below the folder."""

    def divide(files: list[Labelled], names: tuple[str, ...], shares: tuple[float, ...]) -> Parts:
        members: dict[int, list[str]] = {}
        for file, index in files:
            members.setdefault(index, []).append(found.name_of(file))
        drawn = [cut(each, shares) for each in members.values()]
        part = {name: names[number] for each in drawn for number, group in enumerate(each) for name in group}
        return {name: [each for each in files if part[found.name_of(each[0])] == name] for name in names}

    return divide


def _by_person(found: Listing, people: str) -> Divide:
    """Files of each person of all classes, and by class those that do not tell whom they show."""

    def divide(files: list[Labelled], names: tuple[str, ...], shares: tuple[float, ...]) -> Parts:
        who = {file: match[0] for file, _ in files if (match := re.match(people, file.name))}
        untold = [each for each in files if each[0] not in who]
        if untold:
            _warn_of_untold(found, [file for file, _ in untold])
        parts = _by_class(found)(untold, names, shares)
        part = _filled(Counter(who.values()), names, shares)
        for each in files:
            if each[0] in who:
                parts[part[who[each[0]]]].append(each)
        _require_every_class(found, parts)
        return parts

    return divide


def _require_people_apart(found: Listing, people: str) -> None:
    seen: dict[str, str] = {}
    for part, files in found.parts.items():
        for file, _ in files:
            match = re.match(people, file.name)
            if match and seen.setdefault(match[0], part) != part:
                raise UserError(
                    f"Expected every person of {place(found.folder)} in one part, got {shown(match[0])!r} in "
                    f"{seen[match[0]]} and {part}. Move all images of a person to one part."
                )


def _warn_of_untold(found: Listing, files: list[Path]) -> None:
    warnings.warn(
        f"Names of files in {place(found.folder)} do not tell whom they show: {len(files)}, such as "
        f"{shown(found.name_of(files[0]), 160)}. One person may be in several parts.",
        UserWarning,
        stacklevel=5,
    )


def _filled(images: Counter[str], names: tuple[str, ...], shares: tuple[float, ...]) -> dict[str, str]:
    """The part of each person: people in the drawn order, part after part until its share of images is reached."""
    part, seen, total = {}, 0, images.total()
    borders = [sum(shares[: place + 1]) * total for place in range(len(shares) - 1)]
    for person in in_drawn_order(images):
        middle = seen + images[person] / 2
        part[person] = names[sum(middle > border for border in borders)]
        seen += images[person]
    return part


def _require_every_class(found: Listing, parts: Parts) -> None:
    for part, files in parts.items():
        missing = set(range(len(found.classes))) - {index for _, index in files}
        if missing:
            raise UserError(
                f"Expected images of every class in every part of {place(found.folder)}, got none of class "
                f"{shown(found.classes[min(missing)])!r} in {part}, where each person is in one part. Add images of "
                "more people, or divide the folder into train, validation and test."
            )
