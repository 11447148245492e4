"""Labeled Faces in the Wild, as scikit-learn fetches it: people to identify, and pairs to verify.

Source: Huang et al., Labeled Faces in the Wild, 2007; the funneled images, cut as scikit-learn cuts them. Files are
read here, since scikit-learn's own readers hold all images in memory, do not tell who is in a pair, and keep pickles.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from evaluators.data.data_home import DataMissing, place, raw_folder
from evaluators.data.image_folder import ImageFolder, prepared_images
from evaluators.data.image_listing import Listing, listed
from evaluators.data.image_parts import classes_apart
from evaluators.data.prepared import Prepared
from evaluators.splits import Pairs, Split
from primitives.errors import UserError
from primitives.nearest import shown

NAME = "lfw_people"

#: Where a face is in an image of 250x250 pixels, as ``sklearn.datasets.fetch_lfw_people`` cuts it.
FACE = (78, 70, 172, 195)

#: People are identified of whom there are so many images.
FEWEST = 20


@dataclass(frozen=True)
class NamedPair:
    """A pair of images: each a person's name and the number of an image of that person, from 1 on."""

    first: tuple[str, int]
    second: tuple[str, int]


def lfw_people(size: int, people: int) -> Prepared:
    """Images of people of whom there are 20 or more, half of each for training. Raises UserError."""
    found = _images()
    sizes = found.sizes("all")
    kept = {old: new for new, old in enumerate(index for index, count in enumerate(sizes) if count >= FEWEST)}
    if len(kept) != people:
        raise UserError(
            f"Expected {people} people with {FEWEST} images or more in {place(found.folder)}, got {len(kept)}. Remove "
            f"what is there. Run: lossearch download {NAME}"
        )
    images = [(file, kept[index]) for file, index in found.parts["all"] if index in kept]
    chosen = replace(found, classes=tuple(found.classes[old] for old in kept), parts={"all": images})
    return prepared_images(
        NAME, chosen.folder, chosen.classes, classes_apart(chosen), ImageFolder(found.folder, size), FACE
    )


def lfw_pairs() -> list[NamedPair]:
    """The 6,000 pairs of view 2, ten folds in order, 300 of one person and 300 of two in each. Raises UserError."""
    path = _home() / "pairs.txt"
    if not path.is_file():
        raise _missing(path)
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [_pair(fields) for fields in lines[1:]]  # the first says how many there are


def pairs_split(size: int) -> Split:
    """The images that are in pairs, each once, and the pairs. Raises UserError."""
    pairs = lfw_pairs()
    named = sorted({each for pair in pairs for each in (pair.first, pair.second)})
    row = {each: place for place, each in enumerate(named)}
    people = sorted({person for person, _ in named})
    index = {person: number for number, person in enumerate(people)}
    folder = _home() / "lfw_funneled"
    files = [(folder / person / f"{person}_{number:04d}.jpg", index[person]) for person, number in named]
    for file, _ in files:
        if not file.is_file():
            raise _missing(file)
    options = ImageFolder(folder, size, broken="refuse")  # pairs count on every row
    data = prepared_images("lfw_pairs", folder, people, {"test": files}, options, FACE)
    first = torch.tensor([row[pair.first] for pair in pairs])
    second = torch.tensor([row[pair.second] for pair in pairs])
    same = torch.tensor([pair.first[0] == pair.second[0] for pair in pairs])
    return data.split("test", Pairs(first, second, same))


def download() -> Path:
    """Let scikit-learn fetch images and pairs into their folder, and return that. Raises UserError."""
    from sklearn.datasets import fetch_lfw_people

    folder = raw_folder(NAME)
    try:
        fetch_lfw_people(data_home=str(folder), min_faces_per_person=200)
    except (OSError, ValueError) as error:
        raise UserError(
            f"Expected to download {NAME} into {place(folder)}, got: {shown(str(error), 200)}. Try again, or put "
            "lfw_home there as scikit-learn would."
        ) from None
    return folder


def _pair(fields: list[str]) -> NamedPair:
    """The pair of a line: name, number, number; or name, number, name, number."""
    numbers = [*fields[1:2], *fields[-1:]]
    if len(fields) not in (3, 4) or not all(map(str.isdecimal, numbers)) or any("/" in each for each in fields):
        raise UserError(
            f"Expected lines of pairs.txt to be name, number, number or name, number, name, number, apart by tabs, got "
            f"{shown(' '.join(fields))!r}. Remove the file. Run: lossearch download {NAME}"
        )
    first, second = (int(number) for number in numbers)
    return NamedPair((fields[0], first), (fields[0] if len(fields) == 3 else fields[2], second))


def _home() -> Path:
    return raw_folder(NAME) / "lfw_home"


def _images() -> Listing:
    folder = _home() / "lfw_funneled"
    if not folder.is_dir():
        raise _missing(folder)
    return listed(folder)


def _missing(path: Path) -> DataMissing:
    return DataMissing(f"Expected {place(path)}, got nothing. Run: lossearch download {NAME}")
