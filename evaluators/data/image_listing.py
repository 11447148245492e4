"""The images of a folder, by class and by part.

A folder has one subfolder for each class, or ``train``, ``validation`` (or ``val``) and ``test`` in any case, each with
such subfolders. Each image is taken once, however many links lead to it. Files that are left out are counted, except
hidden files and those that desktops leave behind.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lossearch.evaluators.data.data_home import expand_path, shown_path
from lossearch.evaluators.data.images import SUFFIXES
from lossearch.evaluators.data.parts import PARTS
from lossearch.primitives.errors import UserError, nearest, shown

#: Parts by the names of their subfolders, in lower case.
_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

#: Files that desktops put beside images, in lower case.
_DESKTOP_FILES = frozenset(("thumbs.db", "desktop.ini"))

#: A file and its class index.
Labelled = tuple[Path, int]

#: Files by the names of their classes.
_FilesByClass = dict[str, list[Path]]


@dataclass(frozen=True)
class ImageListing:
    """The images of every part by class, sorted by name. An undivided folder has the one part ``all``."""

    folder: Path
    classes: tuple[str, ...]
    parts: dict[str, list[Labelled]]
    left_out: dict[str, int] = field(default_factory=dict)  #: number of files that are in no part, by kind

    @property
    def is_split(self) -> bool:
        """True if the folder defines its parts."""
        return "all" not in self.parts

    def name_of(self, file: Path) -> str:
        """Return the path of a file below the folder."""
        return file.relative_to(self.folder).as_posix()

    def sizes(self, part: str) -> list[int]:
        """Count the images of each class in a part."""
        sizes = [0] * len(self.classes)
        for _, index in self.parts[part]:
            sizes[index] += 1
        return sizes


def list_images(folder: Path, *, identities: bool = False) -> ImageListing:
    """List the images of a folder. With ``identities`` each part of a split folder has classes of its own.

    Raises UserError if there is no folder, no image or only one class. Raises it as well for a class that train lacks,
    an image in two parts, and an identity with two names.
    """
    folder = _require_folder(folder)
    walk = _Walk(folder)
    parts = {part: walk.images_by_class(subfolder) for part, subfolder in _find_part_folders(walk).items()}
    if not any(files for by_class in parts.values() for files in by_class.values()):
        raise UserError(
            f"Expected images ({', '.join(sorted(SUFFIXES))}) in {shown_path(folder)}, in one subfolder for each "
            f"class, got none{walk.describe_left_out()}. Put the images of each class into a subfolder of its name."
        )
    if walk.followed_link:
        _drop_repeated(walk, parts)
    classes = _list_classes(folder, parts, identities)
    index = {name: number for number, name in enumerate(classes)}
    images = {
        part: [(file, index[name]) for name, files in by_class.items() for file in files]
        for part, by_class in parts.items()
    }
    return ImageListing(folder, classes, images, walk.left_out())


def plain_name(name: str) -> str:
    """Reduce a name to its letters and digits, without accents and capitals: data sets spell names differently."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return re.sub(r"[\W_]", "", "".join(letter for letter in plain if not unicodedata.combining(letter)))


def _require_folder(folder: Path) -> Path:
    """Return the absolute path of a folder. Raises UserError if there is none."""
    folder = expand_path(folder).absolute()
    if not folder.is_dir():
        raise UserError(
            f"Expected a folder of images at {shown_path(folder)}, got {'a file' if folder.exists() else 'nothing'}. "
            "Correct the path, or make a folder with one subfolder of images for each class."
        )
    return folder


@dataclass
class _Walk:
    """A walk through a folder that remembers the files it leaves out."""

    folder: Path
    outside: set[Path] = field(default_factory=set)  #: links that leave the folder
    repeated: set[Path] = field(default_factory=set)  #: links to images that are listed already
    loose: set[Path] = field(default_factory=set)  #: images beside the subfolders of classes
    nested: set[Path] = field(default_factory=set)  #: images in subfolders of classes
    other: set[Path] = field(default_factory=set)  #: files of classes whose suffix is not an image's
    followed_link: bool = False

    def subfolders(self, folder: Path) -> list[Path]:
        """List the folders in a folder, sorted by name."""
        return [path for path in self._list_entries(folder) if path.is_dir()]

    def images_by_class(self, folder: Path) -> _FilesByClass:
        """List the images of each subfolder, by the name of the subfolder."""
        for parent in (self.folder, folder):
            self.loose.update(path for path in self._list_entries(parent) if _is_image(path))
        return {subfolder.name: [*self._list_images_of_class(subfolder)] for subfolder in self.subfolders(folder)}

    def left_out(self) -> dict[str, int]:
        """Count the files that were left out, by kind."""
        counts = {
            "links that leave it": len(self.outside),
            "links to images that are there already": len(self.repeated),
            "images outside of subfolders": len(self.loose),
            "images in subfolders of classes": len(self.nested),
            "files that are no images by their suffix": len(self.other),
        }
        return {kind: count for kind, count in counts.items() if count}

    def describe_left_out(self) -> str:
        """Say what there is instead of images of classes, such as files of an unknown kind; empty if nothing."""
        suffixes = Counter(shown(path.suffix.lower() or "no suffix", 20) for path in self.other)
        by_suffix = ", ".join(f"{count} of {suffix}" for suffix, count in suffixes.most_common(5))
        counts = ", ".join(f"{count} {kind.removeprefix('images ')}" for kind, count in self.left_out().items())
        return f" but {counts}{f' ({by_suffix})' if by_suffix else ''}" if counts else ""

    def _list_images_of_class(self, folder: Path) -> Iterator[Path]:
        for path in self._list_entries(folder):
            if _is_image(path):
                yield path
            elif path.is_dir():
                self.nested.update(_walk_images(path))
            elif path.suffix.lower() not in SUFFIXES and path.name.lower() not in _DESKTOP_FILES and path.is_file():
                self.other.add(path)

    def _list_entries(self, folder: Path) -> Iterator[Path]:
        """Yield the entries of a folder by name, without hidden files and links that leave the walked folder."""
        try:
            with os.scandir(folder) as entries:
                names = sorted((entry.name, entry.is_symlink()) for entry in entries)
        except OSError as error:
            raise UserError(
                f"Expected to read {shown_path(folder)}, got: {error.strerror}. Correct its permissions."
            ) from None
        root = os.path.realpath(self.folder)
        for name, is_link in names:
            path = folder / name
            if name.startswith("."):
                continue
            if is_link and not Path(os.path.realpath(path)).is_relative_to(root):
                self.outside.add(path)
                continue
            self.followed_link |= is_link
            yield path


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _walk_images(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names if Path(name).suffix.lower() in SUFFIXES)


def _find_part_folders(walk: _Walk) -> dict[str, Path]:
    """Return the folder of every part. Raises UserError if the folder defines only some parts."""
    subfolders = walk.subfolders(walk.folder)
    named = [path for name in _PARTS for path in subfolders if path.name.lower() == name]
    parts = {_PARTS[path.name.lower()]: path for path in named}
    if "train" not in parts or len(parts) == 1:
        return {"all": walk.folder}
    strays = [path for path in subfolders if path not in named]
    if "test" not in parts or strays or len(parts) < len(named):
        raise UserError(
            f"Expected train, validation (or val) and test in {shown_path(walk.folder)}, which is split, got "
            f"{', '.join(shown(path.name) for path in (*named, *strays[:5]))}. Add the missing folders and move all "
            "others away."
        )
    return {part: parts[part] for part in PARTS if part in parts}


def _drop_repeated(walk: _Walk, parts: dict[str, _FilesByClass]) -> None:
    """Drop links to images that are listed already. Raises UserError if an image is in two parts."""
    root = Path(os.path.realpath(walk.folder))
    files = [
        (part, file, os.path.realpath(file))
        for part, by_class in parts.items()
        for class_files in by_class.values()
        for file in class_files
    ]
    files.sort(key=lambda entry: str(root / entry[1].relative_to(walk.folder)) != entry[2])  # links come last
    first_of: dict[str, tuple[str, Path]] = {}
    for part, file, real in files:
        first_part, first_file = first_of.setdefault(real, (part, file))
        if first_part != part:
            raise UserError(
                f"Expected every image of {shown_path(walk.folder)} in one part, got one in {first_part} and {part}: "
                f"{shown_path(file)} leads to {shown_path(Path(real))}. Remove the link."
            )
        if first_file != file:
            walk.repeated.add(file)
    for by_class in parts.values():
        for name, class_files in by_class.items():
            by_class[name] = [file for file in class_files if file not in walk.repeated]


def _list_classes(folder: Path, parts: dict[str, _FilesByClass], identities: bool) -> tuple[str, ...]:
    """Return the names of the classes of train, in order, or of the identities of all parts."""
    first_part, *other_parts = parts
    classes = sorted(parts[first_part])
    if len(classes) < 2:
        raise UserError(
            f"Expected at least two classes in {shown_path(folder)}, got one, "
            f"{shown(classes[0] if classes else 'none')}. Add a subfolder of images for each other class."
        )
    if identities:
        return _list_identities(parts)
    for part in other_parts:
        for name in parts[part]:
            if name not in classes:
                raise UserError(
                    f"Unknown class {shown(name)!r} in {part}, which is not in train{nearest(name, classes)}"
                )
    return tuple(classes)


def _list_identities(parts: dict[str, _FilesByClass]) -> tuple[str, ...]:
    """Return the identities of all parts. Raises UserError if an identity is in two parts, or has two names."""
    first_of: dict[str, tuple[str, str]] = {}
    for part, by_class in parts.items():
        for name in sorted(by_class):
            first_part, first_name = first_of.setdefault(plain_name(name) or name, (part, name))
            if first_part != part:
                raise UserError(
                    f"Expected identities in {part} that no other part has, got {shown(name)!r}, which {first_part} "
                    f"has as {shown(first_name)!r}. Move all images of an identity to one part."
                )
            if first_name != name:
                raise UserError(
                    f"Expected every identity under one name, got {shown(first_name)!r} and {shown(name)!r}. Move all "
                    "images of an identity to one subfolder, or give two identities names that differ in letters."
                )
    return tuple(name for _, name in first_of.values())
