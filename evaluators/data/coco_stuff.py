"""COCO-Stuff: images and masks of things and stuff, in the folders that it is published in.

Source: Caesar et al., COCO-Stuff, CVPR 2018: ``images/{train,val}2017/NAME.jpg`` and
``annotations/{train,val}2017/NAME.png``, or without the year. Pixels of masks are class indices from 0 to 181, and 255
where there is none. The official validation part is the test.
"""

from collections.abc import Iterator
from pathlib import Path

from lossearch.evaluators.data.data_home import DataMissing, listing, place, raw_folder
from lossearch.evaluators.data.images import BrokenImage, decoded_pair, mostly_sound, warn_of_skipped
from lossearch.evaluators.data.parts import HELD_OUT, PARTS, rows_of_parts
from lossearch.evaluators.data.prepared import Content, Prepared, Sample, prepared
from lossearch.primitives.errors import UserError, shown

NAME, PAGE = "coco_stuff", "https://github.com/nightrome/cocostuff"

#: An image and its mask.
Files = tuple[Path, Path]


def coco_stuff(size: int, classes: int) -> Prepared:
    """Training, validation (a tenth of the official training part) and test.

    Warns of a few broken images. Raises UserError where there are more, or files are missing.
    """
    folder = raw_folder(NAME)
    training, test = _files(folder, "train"), _files(folder, "val")
    drawn = rows_of_parts([0] * len(training), PARTS[:2], HELD_OUT)
    parts = {part: [training[row] for row in rows] for part, rows in drawn.items()} | {"test": test}
    files = listing(folder, (file for each in parts.values() for pair in each for file in pair))

    def content() -> Content:
        skipped: list[str] = []
        names = [str(index) for index in range(classes)]
        return Content(names, {part: _samples(each, size, folder, skipped) for part, each in parts.items()}, skipped)

    data = prepared(NAME, {"folder": str(folder), "files": files, "how": [size, classes]}, content)
    warn_of_skipped(data, folder)
    return data


def _files(folder: Path, part: str) -> list[Files]:
    """Images and masks of an official part, by name. Raises UserError where one has no other."""
    images, masks = _official(folder / "images", part), _official(folder / "annotations", part)
    found = sorted(path for path in images.glob("*.jpg") if not path.name.startswith("."))
    if not found:
        raise DataMissing(
            f"The data of the task {NAME} is not in {place(folder)}. Get it from {PAGE} and put images into "
            "images/train2017 and images/val2017, and masks into annotations/train2017 and annotations/val2017 there."
        )
    pairs = [(path, masks / f"{path.stem}.png") for path in found]
    without = [image.name for image, mask in pairs if not mask.is_file()]
    if without:
        raise UserError(
            f"Expected a mask in {place(masks)} for every image, got none for {len(without)}, such as "
            f"{shown(without[0])}. Add the masks, or remove the images."
        )
    return pairs


def _official(folder: Path, part: str) -> Path:
    """The folder of a part, with or without the year in its name."""
    dated = folder / f"{part}2017"
    return dated if dated.is_dir() else folder / part


def _samples(files: list[Files], size: int, folder: Path, skipped: list[str]) -> Iterator[Sample]:
    def name(pair: Files) -> str:
        return " and ".join(file.relative_to(folder).as_posix() for file in pair)

    try:
        yield from mostly_sound(files, lambda pair: decoded_pair(*pair, size), name, skipped)
    except BrokenImage as broken:
        raise UserError(
            f"Expected images and their masks in {place(folder)}, got {shown(str(broken), 300)}. Replace both files."
        ) from None
