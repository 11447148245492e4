"""What images a folder holds: of which classes, and of which parts where it is split already.

A folder has one subfolder for each class, or ``train``, ``validation`` (or ``val``) and ``test``, each with such
subfolders. Each image is taken once, whatever links lead to it, and what is left out is counted.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from lossearch.evaluators.data.data_home import place
from lossearch.evaluators.data.folder_walk import Walk
from lossearch.evaluators.data.identities import same_name
from lossearch.evaluators.data.images import SUFFIXES
from lossearch.primitives.errors import UserError, nearest, shown

#: Parts by the names of their subfolders.
_PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}

#: A file and its class index.
Labelled = tuple[Path, int]

#: Files by the names of their classes.
_Named = dict[str, list[Path]]


@dataclass(frozen=True)
class Listing:
    """The images of every part by class, in the order of their names; one part, ``all``, where none are given."""

    folder: Path
    classes: tuple[str, ...]
    parts: dict[str, list[Labelled]]
    left_out: dict[str, int] = field(default_factory=dict)  #: how many of what is in the folder and not in a part

    @property
    def is_split(self) -> bool:
        """Whether the folder says which images are for training."""
        return "all" not in self.parts

    def name_of(self, file: Path) -> str:
        """A file's path below the folder."""
        return file.relative_to(self.folder).as_posix()

    def sizes(self, part: str) -> list[int]:
        """Images of each class in a part."""
        sizes = [0] * len(self.classes)
        for _, index in self.parts[part]:
            sizes[index] += 1
        return sizes


def listed(folder: Path, *, identities: bool = False) -> Listing:
    """The images of a folder; with ``identities`` each part of a split folder has classes of its own.

    Raises UserError where there is no folder, no image, only one class, a part has a class that training has not, an
    image is in two parts, or an identity is there under two names.
    """
    folder = _existing(folder)
    walk = Walk(folder)
    named = {part: walk.images_by_class(where) for part, where in _parts(walk).items()}
    if not any(files for each in named.values() for files in each.values()):
        raise UserError(
            f"Expected images ({', '.join(sorted(SUFFIXES))}) in {place(folder)}, in one subfolder for each class, "
            f"got none{walk.lost()}. Put the images of each class into a subfolder of its name."
        )
    if walk.linked:
        _take_once(walk, named)
    classes = _classes(folder, named, identities)
    index = {name: number for number, name in enumerate(classes)}
    images = {
        part: [(file, index[name]) for name, files in each.items() for file in files] for part, each in named.items()
    }
    return Listing(folder, classes, images, walk.left_out())


def _existing(folder: Path) -> Path:
    """The whole path of a folder. Raises UserError where there is none."""
    folder = Path(os.path.expanduser(folder)).absolute()  # leaves ~ of a user who is not known
    if not folder.is_dir():
        raise UserError(
            f"Expected a folder of images at {place(folder)}, got {'a file' if folder.exists() else 'nothing'}. "
            "Mend the path, or make a folder with one subfolder of images for each class."
        )
    return folder


def _parts(walk: Walk) -> dict[str, Path]:
    """The folder of every part. Raises UserError where the folder is split in half only."""
    found = {path.name: path for path in walk.subfolders(walk.folder)}
    parts = [name for name in _PARTS if name in found]
    if "train" not in parts or len(parts) == 1:
        return {"all": walk.folder}
    odd = sorted(found.keys() - _PARTS.keys())
    if "test" not in parts or odd or {"validation", "val"} <= set(parts):
        raise UserError(
            f"Expected train, validation (or val) and test in {place(walk.folder)}, which is split, got "
            f"{', '.join(shown(name) for name in (*parts, *odd[:5]))}. Add what is missing and move away what is odd."
        )
    return {_PARTS[name]: found[name] for name in parts}


def _take_once(walk: Walk, named: dict[str, _Named]) -> None:
    """Leave out links to images that are there already. Raises UserError where an image is in two parts."""
    files = [
        (part, file, os.path.realpath(file)) for part, each in named.items() for all in each.values() for file in all
    ]
    root = Path(os.path.realpath(walk.folder))
    taken: dict[str, tuple[str, Path]] = {}
    for part, file, real in sorted(files, key=lambda each: str(root / each[1].relative_to(walk.folder)) != each[2]):
        first, kept = taken.setdefault(real, (part, file))
        if first != part:
            raise UserError(
                f"Expected every image of {place(walk.folder)} in one part, got one in {first} and {part}: "
                f"{place(file)} leads to {place(Path(real))}. Remove the link."
            )
        if kept != file:
            walk.repeated.add(file)
    for each in named.values():
        for name, all in each.items():
            each[name] = [file for file in all if file not in walk.repeated]


def _classes(folder: Path, named: dict[str, _Named], identities: bool) -> tuple[str, ...]:
    """The names of classes, in order: of training, and of the other parts where they have their own."""
    first, *others = named
    classes = sorted(named[first])
    if len(classes) < 2:
        raise UserError(
            f"Expected two classes at least in {place(folder)}, got one, {shown(classes[0] if classes else 'none')}. "
            "Add a subfolder of images for each other class."
        )
    if identities:
        return _identities(named)
    for part in others:
        for name in named[part]:
            if name not in classes:
                raise UserError(f"Unknown class {shown(name)!r} in {part}, which train has not{nearest(name, classes)}")
    return tuple(classes)


def _identities(named: dict[str, _Named]) -> tuple[str, ...]:
    """The identities of all parts. Raises UserError where one is in two parts, or under two names in one."""
    seen: dict[str, tuple[str, str]] = {}
    for part, each in named.items():
        for name in sorted(each):
            other_part, other = seen.setdefault(same_name(name) or name, (part, name))
            if other_part != part:
                raise UserError(
                    f"Expected identities in {part} that no other part has, got {shown(name)!r}, which {other_part} "
                    f"has as {shown(other)!r}. Move all images of an identity to one part."
                )
            if other != name:
                raise UserError(
                    f"Expected every identity under one name, got {shown(other)!r} and {shown(name)!r}. Move all "
                    "images of an identity to one subfolder, or give two identities names that differ in letters."
                )
    return tuple(name for _, name in seen.values())
