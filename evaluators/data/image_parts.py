"""Which images of a folder train, validate and test: divided by class, or by identity.

Parts are fixed by a seed: half of each class trains, a quarter validates, a quarter tests, unless the folder is split.
"""

from collections import Counter
from dataclasses import replace

import torch

from evaluators.data.data_home import place
from evaluators.data.identities import divided
from evaluators.data.image_listing import Labelled, Listing
from evaluators.splits import stratified
from primitives.errors import UserError
from primitives.nearest import shown

SHARES, SPLIT_SEED, FEWEST = (0.5, 0.25, 0.25), 20_240_412, 4

#: Shares of a training part that trains and that validates, where a data set has no validation part of its own.
HELD_OUT = (0.9, 0.1)

PARTS = ("train", "validation", "test")

#: Images of each part.
Parts = dict[str, list[Labelled]]


def classes_apart(found: Listing) -> Parts:
    """The parts, with images of every class in each. Raises UserError where a class has too few images."""
    _require_enough(found)
    if not found.is_split:
        return _divided(found.parts["all"], PARTS, SHARES)
    parts = dict(found.parts)
    if "validation" not in parts:
        parts |= held_out(parts["train"])
    return {part: parts[part] for part in PARTS}


def held_out(training: list[Labelled]) -> Parts:
    """Training and validation, a tenth of each class."""
    return _divided(training, PARTS[:2], HELD_OUT)


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
    sizes = found.sizes("all")
    drawn = divided([index for index, size in enumerate(sizes) if size >= 2], SHARES, SPLIT_SEED)
    wanted = {part: set(each) for part, each in zip(PARTS, drawn, strict=True)}
    wanted["train"] |= {index for index, size in enumerate(sizes) if size == 1}
    return wanted


def _require_enough(found: Listing) -> None:
    """Raise UserError where a class would be missing from a part."""
    for part in found.parts:
        fewest, where = (FEWEST, "") if part == "all" else (1, f" in {part}")
        for name, size in zip(found.classes, found.sizes(part), strict=True):
            if size < fewest:
                raise UserError(
                    f"Expected {fewest} {'image' if fewest == 1 else 'images'} at least of class {shown(name)!r}{where}"
                    f", got {size}. Add images, or remove the class."
                )


def _divided(files: list[Labelled], names: tuple[str, ...], shares: tuple[float, ...]) -> Parts:
    rows = stratified(torch.tensor([index for _, index in files]), shares, SPLIT_SEED)
    return {name: [files[row] for row in each.tolist()] for name, each in zip(names, rows, strict=True)}
