"""A walk through a folder of images, which remembers what it passes by.

Hidden files and what desktops leave behind are passed by in silence; links that leave the folder, images that lie
where no class would have them and files that are no images by their suffix are counted.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lossearch.evaluators.data.data_home import place
from lossearch.evaluators.data.images import SUFFIXES
from lossearch.primitives.errors import UserError

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
