"""Labeled Faces in the Wild, as scikit-learn fetches it: people to identify, and images of pairs to verify.

Source: Huang et al., Labeled Faces in the Wild, 2007; the funneled images, cut as scikit-learn cuts them. Files are
read here, since scikit-learn's own readers hold all images in memory, do not tell who is in a pair, and keep pickles.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lossearch.evaluators.data.data_home import DataMissing, place, raw_folder
from lossearch.evaluators.data.image_folder import ImageFolder, prepared_images
from lossearch.evaluators.data.image_listing import Listing, listed
from lossearch.evaluators.data.image_parts import classes_apart
from lossearch.evaluators.data.prepared import Prepared
from lossearch.evaluators.data.splits import Pairs, Split
from lossearch.primitives.errors import UserError, shown

#: Where a face is in an image of 250x250 pixels, as ``sklearn.datasets.fetch_lfw_people`` cuts it.
FACE = (78, 70, 172, 195)

#: People are identified of whom there are so many images.
FEWEST = 20


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


def pairs_split(size: int) -> Split:
    """The images that are in pairs, each once, and the pairs. Raises UserError."""
    pairs = lfw_pairs()
    named = sorted({each for pair in pairs for each in (pair.first, pair.second)})
    row = {each: place for place, each in enumerate(named)}
    people = sorted({person for person, _ in named})
    index = {person: number for number, person in enumerate(people)}
    folder = lfw_home() / "lfw_funneled"
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
    """Let scikit-learn fetch images and pairs into their folder, and return that. Raises UserError.

    Scikit-learn keeps what it read as pickles and reads them again: there must be none before, and none is left.
    """
    from sklearn.datasets import fetch_lfw_people

    folder, pickles = raw_folder(NAME), lfw_home() / "joblib"
    if pickles.exists():
        raise UserError(f"Expected no pickles of scikit-learn's, got {place(pickles)}. Remove it, and start again.")
    try:
        fetch_lfw_people(data_home=str(folder), min_faces_per_person=200)
    except (OSError, ValueError) as error:
        raise UserError(
            f"Expected to download {NAME} into {place(folder)}, got: {shown(str(error), 200)}. Try again, or put "
            "lfw_home there as scikit-learn would."
        ) from None
    finally:
        shutil.rmtree(pickles, ignore_errors=True)
    return folder


def _images() -> Listing:
    folder = lfw_home() / "lfw_funneled"
    if not folder.is_dir():
        raise _missing(folder)
    return listed(folder)


def _missing(path: Path) -> DataMissing:
    """What to do about an image that is not there: scikit-learn fetches none where their folder is."""
    images = lfw_home() / "lfw_funneled"
    remove = f"Remove {place(images)}. " if images.is_dir() else ""
    return DataMissing(f"Expected {place(path)}, got nothing. {remove}Run: lossearch download {NAME}")


# --- The pairs of Labeled Faces in the Wild that are verified, read from pairs.txt.
#
# Source: Huang et al., Labeled Faces in the Wild, 2007, view 2. The first line has the number of folds and n;
# each fold has n lines "name, number, number" of one person and n lines "name, number, name, number" of two,
# apart by tabs.

NAME = "lfw_people"


#: Digits that a number has at most: nobody has as many images as 10,000.
_DIGITS = 4


@dataclass(frozen=True)
class NamedPair:
    """A pair of images: each a person's name and the number of an image of that person, from 1 on."""

    first: tuple[str, int]
    second: tuple[str, int]


def lfw_home() -> Path:
    """Where scikit-learn puts Labeled Faces in the Wild."""
    return raw_folder(NAME) / "lfw_home"


def lfw_pairs() -> list[NamedPair]:
    """The 6,000 pairs of view 2, ten folds in order, 300 of one person and 300 of two in each. Raises UserError."""
    path = lfw_home() / "pairs.txt"
    if not path.is_file():
        raise DataMissing(f"Expected {place(path)}, got nothing. Run: lossearch download {NAME}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _odd("text in UTF-8", "other bytes") from None
    header, *lines = [line.split("\t") for line in text.splitlines() if line.strip()] or [[]]
    if len(header) != 2 or not all(map(_is_number, header)):
        raise _odd("a first line of two numbers, folds and pairs", _quoted(header))
    folds, each = map(int, header)
    if len(lines) != 2 * folds * each or not lines:
        raise _odd(f"{2 * folds * each} lines of pairs, as the first says", str(len(lines)))
    fields_of = ([3] * each + [4] * each) * folds
    return [_pair(fields, count) for fields, count in zip(lines, fields_of, strict=True)]


def _pair(fields: list[str], count: int) -> NamedPair:
    """The pair of a line of so many fields: name, number, number; or name, number, name, number."""
    names, numbers = fields[0 : count - 1 : 2], [*fields[1:2], *fields[-1:]]
    if len(fields) != count or not all(map(_is_number, numbers)) or not all(map(_is_name, names)):
        form = "name, number, number" if count == 3 else "name, number, name, number"
        raise _odd(f"a line of {form}, apart by tabs,", _quoted(fields))
    first, second = (int(number) for number in numbers)
    return NamedPair((names[0], first), (names[-1], second))


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdecimal() and len(field) <= _DIGITS


def _is_name(field: str) -> bool:
    """Whether a field can be the name of a folder beside the others."""
    return bool(field) and not field.startswith(".") and "/" not in field and "\0" not in field


def _quoted(fields: list[str]) -> str:
    return repr(shown(" ".join(fields)))


def _odd(expected: str, got: str) -> UserError:
    return UserError(f"Expected {expected} in pairs.txt, got {got}. Remove the file. Run: lossearch download {NAME}")
