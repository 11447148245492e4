"""What images a folder holds: of which classes, and of which parts where it is split already.

A folder has one subfolder for each class, or ``train``, ``validation`` (or ``val``) and ``test``, each with such
subfolders. Each image is taken once, whatever links lead to it, and what is left out is counted.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lossearch.evaluators.data.data_home import place
from lossearch.evaluators.data.identities import same_name
from lossearch.evaluators.data.images import SUFFIXES
from lossearch.primitives.errors import UserError, nearest, shown

# --- A walk through a folder of images, which remembers what it passes by.
#
# Hidden files and what desktops leave behind are passed by in silence; links that leave the folder, images that
# lie where no class would have them and files that are no images by their suffix are counted.

#: What desktops put beside images, in small letters.
_OF_DESKTOPS = frozenset(("thumbs.db", "desktop.ini"))


@dataclass
class Walk:
    """Looks into a folder."""

    folder: Path
    outside: set[Path] = field(default_factory=set)  #: links that leave the folder
    repeated: set[Path] = field(default_factory=set)  #: links to images that are there already
    loose: set[Path] = field(default_factory=set)  #: images beside the subfolders of classes
    nested: set[Path] = field(default_factory=set)  #: images in subfolders of classes
    odd: set[Path] = field(default_factory=set)  #: files of classes whose suffixes are not those of images
    linked: bool = False  #: whether a link was followed

    def subfolders(self, folder: Path) -> list[Path]:
        """The folders in a folder, in the order of their names."""
        return [path for path in self._entries(folder) if path.is_dir()]

    def images_by_class(self, folder: Path) -> dict[str, list[Path]]:
        """The images of each subfolder by its name."""
        for each in (self.folder, folder):
            self.loose.update(path for path in self._entries(each) if _is_image(path))
        return {each.name: [*self._images_of_class(each)] for each in self.subfolders(folder)}

    def lost(self) -> str:
        """Clause that says what lies where no class would have it."""
        return f" but {len(self.loose)} outside of subfolders" if self.loose else ""

    def left_out(self) -> dict[str, int]:
        """How many of each kind were passed by."""
        counts = {
            "links that leave it": len(self.outside),
            "links to images that are there already": len(self.repeated),
            "images outside of subfolders": len(self.loose),
            "images in subfolders of classes": len(self.nested),
            "files that are no images by their suffix": len(self.odd),
        }
        return {what: count for what, count in counts.items() if count}

    def _images_of_class(self, folder: Path) -> Iterator[Path]:
        for path in self._entries(folder):
            if _is_image(path):
                yield path
            elif path.is_dir():
                self.nested.update(_images_below(path))
            elif path.suffix.lower() not in SUFFIXES and path.name.lower() not in _OF_DESKTOPS and path.is_file():
                self.odd.add(path)

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
            self.linked |= is_link
            yield path


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _images_below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names if Path(name).suffix.lower() in SUFFIXES)


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
