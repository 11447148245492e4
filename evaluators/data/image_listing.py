"""What images a folder holds: of which classes, and of which parts where it is split already.

A folder has one subfolder for each class, or ``train``, ``validation`` (or ``val``) and ``test``, each with such
subfolders. Hidden files, files that are no images by their suffix and links that leave the folder are left out.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from evaluators.data.data_home import place
from evaluators.data.images import SUFFIXES
from primitives.errors import UserError
from primitives.nearest import nearest, shown

#: Parts by the names of their subfolders.
_PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}

#: A file and its class index.
Labelled = tuple[Path, int]


@dataclass(frozen=True)
class Listing:
    """The images of every part by class, in the order of their names; one part, ``all``, where none are given."""

    folder: Path
    classes: tuple[str, ...]
    parts: dict[str, list[Labelled]]
    outside: int = 0  #: links that leave the folder

    @property
    def is_split(self) -> bool:
        """Whether the folder says which images are for training."""
        return "all" not in self.parts

    def sizes(self, part: str) -> list[int]:
        """Images of each class in a part."""
        sizes = [0] * len(self.classes)
        for _, index in self.parts[part]:
            sizes[index] += 1
        return sizes


def listed(folder: Path, *, identities: bool = False) -> Listing:
    """The images of a folder; with ``identities`` each part of a split folder has classes of its own.

    Raises UserError where there is no folder, no image, only one class, or a part has a class that training has not.
    """
    folder = _existing(folder)
    walk = _Walk(folder)
    named = {part: walk.images_by_class(where) for part, where in _parts(walk).items()}
    if not any(files for each in named.values() for files in each.values()):
        raise UserError(
            f"Expected images ({', '.join(sorted(SUFFIXES))}) in {place(folder)}, in one subfolder for each class, "
            f"got none{walk.lost()}. Put the images of each class into a subfolder of its name."
        )
    classes = _classes(folder, named, identities)
    index = {name: number for number, name in enumerate(classes)}
    images = {
        part: [(file, index[name]) for name, files in each.items() for file in files] for part, each in named.items()
    }
    return Listing(folder, classes, images, len(walk.outside))


def _existing(folder: Path) -> Path:
    """The whole path of a folder. Raises UserError where there is none."""
    folder = Path(os.path.expanduser(folder)).absolute()  # leaves ~ of a user who is not known
    if not folder.is_dir():
        raise UserError(
            f"Expected a folder of images at {place(folder)}, got {'a file' if folder.exists() else 'nothing'}. "
            "Mend the path, or make a folder with one subfolder of images for each class."
        )
    return folder


@dataclass
class _Walk:
    """Looks into a folder, and remembers links that leave it."""

    folder: Path
    outside: set[Path] = field(default_factory=set)

    def subfolders(self, folder: Path) -> list[Path]:
        return [path for path in self._entries(folder) if path.is_dir()]

    def images_by_class(self, folder: Path) -> dict[str, list[Path]]:
        return {each.name: [*self._images(each)] for each in self.subfolders(folder)}

    def lost(self) -> str:
        """Clause that says what lies where no class would have it."""
        loose = sum(1 for _ in self._images(self.folder))
        return f" but {loose} outside of subfolders" if loose else ""

    def _images(self, folder: Path) -> Iterator[Path]:
        return (path for path in self._entries(folder) if path.suffix.lower() in SUFFIXES and path.is_file())

    def _entries(self, folder: Path) -> Iterator[Path]:
        try:
            with os.scandir(folder) as entries:
                names = sorted((entry.name, entry.is_symlink()) for entry in entries)
        except OSError as error:
            raise UserError(f"Expected to read {place(folder)}, got: {error.strerror}. Mend its permissions.") from None
        root = os.path.realpath(self.folder)
        for name, is_link in names:
            path = folder / name
            if name.startswith("."):
                continue
            if is_link and not Path(os.path.realpath(path)).is_relative_to(root):
                self.outside.add(path)
                continue
            yield path


def _parts(walk: _Walk) -> dict[str, Path]:
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


def _classes(folder: Path, named: dict[str, dict[str, list[Path]]], identities: bool) -> tuple[str, ...]:
    """The names of classes, in order: of training, and of the other parts where they have their own."""
    first, *others = named
    classes = sorted(named[first])
    if len(classes) < 2:
        raise UserError(
            f"Expected two classes at least in {place(folder)}, got one, {shown(classes[0] if classes else 'none')}. "
            "Add a subfolder of images for each other class."
        )
    for part in others:
        if identities:
            classes += _unseen(part, sorted(named[part]), classes)
        for name in named[part]:
            if name not in classes:
                raise UserError(f"Unknown class {shown(name)!r} in {part}, which train has not{nearest(name, classes)}")
    return tuple(classes)


def _unseen(part: str, names: list[str], seen: list[str]) -> list[str]:
    """The identities of a part. Raises UserError where one is in another part too."""
    both = [name for name in names if name in seen]
    if both:
        raise UserError(
            f"Expected identities in {part} that no other part has, got {len(both)} that one has, such as "
            f"{shown(both[0])!r}. Move all images of an identity to one part."
        )
    return names
