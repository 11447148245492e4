"""COCO-Stuff: images and masks of things and stuff, in the folders that it is published in.

Source: Caesar et al., COCO-Stuff, CVPR 2018: ``images/{train,val}/NAME.jpg`` and ``annotations/{train,val}/NAME.png``,
whose pixels are class indices from 0 to 181, and 255 where there is none. The official validation part is the test.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from evaluators.data.data_home import DataMissing, place, raw_folder
from evaluators.data.image_parts import HELD_OUT, SPLIT_SEED
from evaluators.data.images import BrokenImage, decoded_pair
from evaluators.data.prepared import Content, Prepared, Sample, listing, prepared
from evaluators.splits import stratified
from primitives.errors import UserError
from primitives.nearest import shown

NAME, PAGE = "coco_stuff", "https://github.com/nightrome/cocostuff"

#: An image and its mask.
Files = tuple[Path, Path]


def coco_stuff(size: int, classes: int) -> Prepared:
    """Training, validation (a tenth of the official training part) and test. Raises UserError."""
    folder = raw_folder(NAME)
    training, test = _files(folder, "train"), _files(folder, "val")
    rows = stratified(torch.zeros(len(training), dtype=torch.int64), HELD_OUT, SPLIT_SEED)
    train, validation = ([training[row] for row in each.tolist()] for each in rows)
    parts = {"train": train, "validation": validation, "test": test}
    files = listing(folder, (file for each in parts.values() for pair in each for file in pair))

    def content() -> Content:
        names = [str(index) for index in range(classes)]
        return Content(names, {part: _samples(each, size) for part, each in parts.items()})

    return prepared(NAME, {"folder": str(folder), "files": files, "how": [size, classes]}, content)


def _files(folder: Path, part: str) -> list[Files]:
    """Images and masks of an official part, by name. Raises UserError where one has no other."""
    images, masks = folder / "images" / part, folder / "annotations" / part
    found = sorted(path for path in images.glob("*.jpg") if not path.name.startswith("."))
    if not found:
        raise DataMissing(
            f"The data of the task {NAME} is not in {place(folder)}. Get it from {PAGE} and put images into "
            "images/train and images/val, and masks into annotations/train and annotations/val there."
        )
    pairs = [(path, masks / f"{path.stem}.png") for path in found]
    without = [image.name for image, mask in pairs if not mask.is_file()]
    if without:
        raise UserError(
            f"Expected a mask in {place(masks)} for every image, got none for {len(without)}, such as "
            f"{shown(without[0])}. Add the masks, or remove the images."
        )
    return pairs


def _samples(files: Iterable[Files], size: int) -> Iterator[Sample]:
    for image, mask in files:
        try:
            sample = decoded_pair(image, mask, size)
        except BrokenImage as broken:
            raise UserError(
                f"Expected an image and its mask in {place(image)} and {place(mask)}, got: {shown(str(broken), 200)}. "
                "Replace both."
            ) from None
        yield sample
