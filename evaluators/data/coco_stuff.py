"""COCO-Stuff: images with masks of things and stuff, in the folders in which they are published.

Source: Caesar et al., COCO-Stuff, CVPR 2018: ``images/{train,val}2017/NAME.jpg`` and
``annotations/{train,val}2017/NAME.png``, or both without the year. Pixels of masks are class indices from 0 to 181, and
255 where a pixel has no class. The official validation part is the test part here.
"""

from collections.abc import Iterator
from pathlib import Path

from lossearch.evaluators.data.data_home import DataMissing, list_files, raw_folder, shown_path
from lossearch.evaluators.data.images import BrokenImage, decode_pair, sound_samples, warn_of_skipped
from lossearch.evaluators.data.parts import HELD_OUT, PARTS, draw_rows
from lossearch.evaluators.data.prepared import Content, Prepared, Sample, prepare
from lossearch.primitives.errors import UserError, shown

NAME, PAGE = "coco_stuff", "https://github.com/nightrome/cocostuff"

#: An image and its mask.
Files = tuple[Path, Path]


def read_coco_stuff(size: int, classes: int) -> Prepared:
    """Prepare train, validation (a tenth of the official training part) and test, ``size`` pixels each way.

    Warns of a few broken images. Raises UserError if there are more, or if files are missing.
    """
    folder, parts = raw_folder(NAME), _divide_files()
    files = list_files(folder, (file for pairs in parts.values() for pair in pairs for file in pair))

    def content() -> Content:
        skipped: list[str] = []
        names = [str(index) for index in range(classes)]
        samples = {part: _decode_samples(pairs, size, folder, skipped) for part, pairs in parts.items()}
        return Content(names, samples, skipped)

    data = prepare(NAME, {"folder": str(folder), "files": files, "how": [size, classes]}, content)
    warn_of_skipped(data, folder)
    return data


def count_images() -> dict[str, int]:
    """Count the images of each part without decoding them. Raises UserError."""
    return {part: len(pairs) for part, pairs in _divide_files().items()}


def _divide_files() -> dict[str, list[Files]]:
    """List images and masks of train, validation and test. Raises UserError."""
    folder = raw_folder(NAME)
    training, test = _list_files(folder, "train"), _list_files(folder, "val")
    drawn = draw_rows([0] * len(training), PARTS[:2], HELD_OUT)
    return {part: [training[row] for row in rows] for part, rows in drawn.items()} | {"test": test}


def _list_files(folder: Path, part: str) -> list[Files]:
    """List images and masks of an official part, sorted by name. Raises UserError if an image has no mask."""
    images, masks = _find_official_folder(folder / "images", part), _find_official_folder(folder / "annotations", part)
    paths = sorted(path for path in images.glob("*.jpg") if not path.name.startswith("."))
    if not paths:
        raise DataMissing(
            f"The data of the task {NAME} is not in {shown_path(folder)}. Get it from {PAGE} and put images into "
            "images/train2017 and images/val2017, and masks into annotations/train2017 and annotations/val2017 there."
        )
    pairs = [(path, masks / f"{path.stem}.png") for path in paths]
    unmasked = [image.name for image, mask in pairs if not mask.is_file()]
    if unmasked:
        raise UserError(
            f"Expected a mask in {shown_path(masks)} for every image, got none for {len(unmasked)}, such as "
            f"{shown(unmasked[0])}. Add the masks, or remove the images."
        )
    return pairs


def _find_official_folder(folder: Path, part: str) -> Path:
    """Return the folder of a part, with or without the year in its name."""
    dated = folder / f"{part}2017"
    return dated if dated.is_dir() else folder / part


def _decode_samples(files: list[Files], size: int, folder: Path, skipped: list[str]) -> Iterator[Sample]:
    def name(pair: Files) -> str:
        return " and ".join(file.relative_to(folder).as_posix() for file in pair)

    try:
        yield from sound_samples(files, lambda pair: decode_pair(*pair, size), name, skipped)
    except BrokenImage as broken:
        raise UserError(
            f"Expected images and their masks in {shown_path(folder)}, got {shown(str(broken), 300)}. Replace both "
            "files."
        ) from None
