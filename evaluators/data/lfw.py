"""Labeled Faces in the Wild, as scikit-learn fetches it: people to identify, and pairs of images to verify.

Source: Huang et al., Labeled Faces in the Wild, 2007; the funneled images, cut as scikit-learn cuts them. The files are
read here, because scikit-learn's own readers hold all images in memory, do not return who is in a pair, and keep
pickles.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from lossearch.evaluators.data.data_home import DataMissing, raw_folder, shown_path
from lossearch.evaluators.data.image_folder import ImageFolder, prepare_images
from lossearch.evaluators.data.image_listing import ImageListing, list_images
from lossearch.evaluators.data.image_parts import Parts, divide_by_class
from lossearch.evaluators.data.prepared import Prepared
from lossearch.evaluators.data.splits import Pairs, Split
from lossearch.primitives.errors import UserError, shown

NAME = "lfw_people"

#: The face in an image of 250x250 pixels, as ``sklearn.datasets.fetch_lfw_people`` cuts it.
FACE = (78, 70, 172, 195)

#: Fewest images of a person to identify.
FEWEST = 20

#: Most digits of an image number in pairs.txt: nobody has 10,000 images.
_MOST_DIGITS = 4


@dataclass(frozen=True)
class NamedPair:
    """A pair of images, each given by the name of a person and the number of an image of this person, from 1 on."""

    first: tuple[str, int]
    second: tuple[str, int]


def lfw_home() -> Path:
    """Return the folder into which scikit-learn puts Labeled Faces in the Wild."""
    return raw_folder(NAME) / "lfw_home"


def read_people(size: int, people: int) -> Prepared:
    """Prepare the images of people with at least 20 images, ``size`` pixels each way.

    Half of the images of each person trains, a quarter validates, a quarter tests. Raises UserError.
    """
    chosen, parts = _divide_people(people)
    return prepare_images(NAME, chosen.folder, chosen.classes, parts, ImageFolder(chosen.folder, size), FACE)


def count_people(people: int) -> dict[str, int]:
    """Count the images of each part without decoding them. Raises UserError."""
    return {part: len(images) for part, images in _divide_people(people)[1].items()}


def _divide_people(people: int) -> tuple[ImageListing, Parts]:
    """List and divide the images of people with at least 20 images. Raises UserError."""
    folder = _get_image_folder()
    if not folder.is_dir():
        raise _missing_image(folder)
    listing = list_images(folder)
    sizes = listing.sizes("all")
    kept = {old: new for new, old in enumerate(index for index, count in enumerate(sizes) if count >= FEWEST)}
    if len(kept) != people:
        raise UserError(
            f"Expected {people} people with {FEWEST} images or more in {shown_path(folder)}, got {len(kept)}. Remove "
            f"this folder. Run: lossearch download {NAME}"
        )
    images = [(file, kept[index]) for file, index in listing.parts["all"] if index in kept]
    chosen = replace(listing, classes=tuple(listing.classes[old] for old in kept), parts={"all": images})
    return chosen, divide_by_class(chosen)


def read_pairs(size: int) -> Split:
    """Load the images of pairs, each once, and the pairs, ``size`` pixels each way. Raises UserError."""
    import torch

    pairs = read_named_pairs()
    images = sorted({image for pair in pairs for image in (pair.first, pair.second)})
    row = {image: number for number, image in enumerate(images)}
    people = sorted({person for person, _ in images})
    index = {person: number for number, person in enumerate(people)}
    folder = _get_image_folder()
    files = [(folder / person / f"{person}_{number:04d}.jpg", index[person]) for person, number in images]
    for file, _ in files:
        if not file.is_file():
            raise _missing_image(file)
    options = ImageFolder(folder, size, broken="refuse")  # a skipped image would shift the rows of pairs
    data = prepare_images("lfw_pairs", folder, people, {"test": files}, options, FACE)
    first = torch.tensor([row[pair.first] for pair in pairs])
    second = torch.tensor([row[pair.second] for pair in pairs])
    same = torch.tensor([pair.first[0] == pair.second[0] for pair in pairs])
    return data.split("test", Pairs(first, second, same))


def read_named_pairs() -> list[NamedPair]:
    """Read the 6,000 pairs of view 2 from pairs.txt: ten folds in order, each with 300 pairs of one person and of two.

    The first line has the number of folds and n. Each fold has n lines "name, number, number" and n lines "name,
    number, name, number", separated by tabs. Raises UserError.
    """
    path = lfw_home() / "pairs.txt"
    if not path.is_file():
        raise DataMissing(f"Expected {shown_path(path)}, got nothing. Run: lossearch download {NAME}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _pairs_error("text in UTF-8", "other bytes") from None
    header, *lines = [line.split("\t") for line in text.splitlines() if line.strip()] or [[]]
    if len(header) != 2 or not all(map(_is_number, header)):
        raise _pairs_error("a first line of two numbers, folds and pairs", _quote(header))
    folds, pairs = map(int, header)
    if len(lines) != 2 * folds * pairs or not lines:
        raise _pairs_error(f"{2 * folds * pairs} lines of pairs, as the first line says,", str(len(lines)))
    num_fields = ([3] * pairs + [4] * pairs) * folds
    return [_parse_pair(fields, count) for fields, count in zip(lines, num_fields, strict=True)]


def download() -> Path:
    """Let scikit-learn fetch images and pairs into their folder, and return the folder. Raises UserError.

    Scikit-learn keeps what it read as pickles, and would read pickles it finds. So there must be none before, and none
    is left.
    """
    from sklearn.datasets import fetch_lfw_people

    folder, pickles = raw_folder(NAME), lfw_home() / "joblib"
    if pickles.exists():
        raise UserError(
            f"Expected no pickles of scikit-learn's, got {shown_path(pickles)}. Remove it, and start again."
        )
    try:
        fetch_lfw_people(data_home=str(folder), min_faces_per_person=200)
    except (OSError, ValueError) as error:
        raise UserError(
            f"Expected to download {NAME} into {shown_path(folder)}, got: {shown(str(error), 200)}. Try again, or put "
            "lfw_home there as scikit-learn would."
        ) from None
    finally:
        shutil.rmtree(pickles, ignore_errors=True)
    return folder


def _get_image_folder() -> Path:
    return lfw_home() / "lfw_funneled"


def _missing_image(path: Path) -> DataMissing:
    """Return the error for a missing image: scikit-learn fetches none if their folder exists."""
    folder = _get_image_folder()
    remove = f"Remove {shown_path(folder)}. " if folder.is_dir() else ""
    return DataMissing(f"Expected {shown_path(path)}, got nothing. {remove}Run: lossearch download {NAME}")


def _parse_pair(fields: list[str], count: int) -> NamedPair:
    """Parse a line of three fields (name, number, number) or four (name, number, name, number)."""
    names, numbers = fields[0 : count - 1 : 2], [*fields[1:2], *fields[-1:]]
    if len(fields) != count or not all(map(_is_number, numbers)) or not all(map(_is_folder_name, names)):
        form = "name, number, number" if count == 3 else "name, number, name, number"
        raise _pairs_error(f"a line of {form}, separated by tabs,", _quote(fields))
    first, second = (int(number) for number in numbers)
    return NamedPair((names[0], first), (names[-1], second))


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdecimal() and len(field) <= _MOST_DIGITS


def _is_folder_name(field: str) -> bool:
    """Return True if a field can name a folder among the others, and leads nowhere else."""
    return bool(field) and not field.startswith(".") and "/" not in field and "\0" not in field


def _quote(fields: list[str]) -> str:
    return repr(shown(" ".join(fields)))


def _pairs_error(expected: str, got: str) -> UserError:
    return UserError(f"Expected {expected} in pairs.txt, got {got}. Remove the file. Run: lossearch download {NAME}")
