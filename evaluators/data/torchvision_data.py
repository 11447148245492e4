"""Torchvision's data sets as prepared data; the only file that imports torchvision.

Torchvision unpickles batches of CIFAR, and does so after it has compared the checksum of every file with the official
one. What an old version of it left of MNIST and its like, in a folder ``processed``, it would read unchecked: such a
folder is refused. All else is read as arrays, tables and images.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lossearch.evaluators.data.data_home import DataMissing, listing, place, raw_folder
from lossearch.evaluators.data.images import BrokenImage, fitted, fitted_pair, mostly_sound, warn_of_skipped
from lossearch.evaluators.data.parts import HELD_OUT, PARTS, SHARES, rows_of_parts
from lossearch.evaluators.data.prepared import Content, Prepared, Sample, prepared
from lossearch.primitives.errors import UserError, shown


@dataclass(frozen=True)
class Published:
    """A data set as torchvision has it."""

    kind: str  #: name of its class in torchvision.datasets
    parts: Mapping[str, Mapping[str, Any]]  #: what tells its class the official parts; ``all`` where there are none
    size: int  #: pixels each way that its images are scaled to
    labels: str = "targets"  #: attribute with the class index of each sample
    names: str | None = "classes"  #: attribute with the names of classes, where it has one
    archives: bool = False  #: whether each official part is in files of its own
    masks: bool = False  #: whether every pixel has a class
    grey: bool = False
    transposed: bool = False  #: whether rows of its images are columns
    page: str | None = None  #: where a person can get it that torchvision does not fetch
    layout: str = ""  #: what of it is put into its folder


_TRAIN = {"train": {"train": True}, "test": {"train": False}}
_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
_BALANCED = {part: {"split": "balanced", **which} for part, which in _TRAIN.items()}
_VOC = {"train": {"year": "2012", "image_set": "train"}, "test": {"year": "2012", "image_set": "val"}}

#: Data sets by the name of their task.
PUBLISHED = {
    "mnist": Published("MNIST", _TRAIN, 28, grey=True),
    "fashion_mnist": Published("FashionMNIST", _TRAIN, 28, grey=True),
    "emnist_balanced": Published("EMNIST", _BALANCED, 28, grey=True, transposed=True),
    "cifar10": Published("CIFAR10", _TRAIN, 32),
    "cifar100": Published("CIFAR100", _TRAIN, 32),
    "svhn": Published("SVHN", _SPLIT, 32, "labels", None, archives=True),
    "pcam": Published("PCAM", {**_SPLIT, "validation": {"split": "val"}}, 48, names=None, archives=True),
    "caltech101": Published("Caltech101", {"all": {}}, 64, "y", "categories"),
    "food101": Published("Food101", _SPLIT, 64, "_labels"),
    "fer2013": Published(
        "FER2013",
        _SPLIT,
        48,
        "_samples",
        None,
        grey=True,
        page="https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
        layout="fer2013/icml_face_data.csv",
    ),
    "voc2012": Published("VOCSegmentation", _VOC, 64, names=None, masks=True),
}


#: What downloads and archives that break raise.
_FAILED = (
    *(OSError, RuntimeError, ImportError, ValueError, EOFError),
    *(HTTPException, tarfile.TarError, zipfile.BadZipFile, zlib.error),
)


def torchvision_data(name: str, classes: int) -> Prepared:
    """The parts of a data set: the official ones, validation drawn from training where none is official.

    Warns of a few broken images. Raises DataMissing where its files are not there or not whole, and UserError where
    torchvision is not.
    """
    published, folder = PUBLISHED[name], raw_folder(name)
    found = listing(folder)
    if not found:
        raise DataMissing(f"The data of the task {name} is not in {place(folder)}. {_again(name)}")
    how = [published.size, published.grey, published.transposed, classes]
    decides = {"folder": str(folder), "files": found, "how": how}
    data = prepared(name, decides, lambda: _content(name, classes))
    if not published.masks:
        _require_every_class(name, data)
    warn_of_skipped(data, folder)
    return data


def download(name: str) -> Path:
    """Let torchvision fetch a data set into its folder, and return that. Raises UserError."""
    published, folder = PUBLISHED[name], raw_folder(name)
    kind = getattr(_datasets(), published.kind)
    folder.mkdir(parents=True, exist_ok=True)
    parts = list(published.parts.values())
    for which in parts if published.archives else parts[:1]:
        try:
            kind(str(folder), download=True, **which)
        except _FAILED as error:
            raise UserError(
                f"Expected to download {name} into {place(folder)}, got: {_one_line(error)}. Try again, or put its "
                "files there as torchvision would."
            ) from None
    return folder


def _datasets() -> Any:
    """The module torchvision.datasets. Raises UserError where it cannot be imported."""
    try:
        from torchvision import datasets
    except ImportError as error:
        raise UserError(
            f"Expected torchvision, which reads this data, got: {_one_line(error)}. Run: "
            "pip install 'lossearch[vision]'"
        ) from None
    except RuntimeError as error:  # as where one of the two is built for CPUs and the other for GPUs
        raise UserError(
            f"Expected a torchvision that suits torch {torch.__version__}, got: {_one_line(error)}. Install both "
            "from one index, as pytorch.org says for your machine."
        ) from None
    return datasets


def _content(name: str, classes: int) -> Content:
    """All parts, drawn from one object of torchvision's for each official part."""
    published = PUBLISHED[name]
    opened = {part: _opened(name, part) for part in published.parts}
    rows: dict[str, tuple[str, Sequence[int]]] = {
        part: (part, range(_samples_of(name, dataset))) for part, dataset in opened.items()
    }
    source, parts, shares = ("all", PARTS, SHARES) if "all" in opened else ("train", PARTS[:2], HELD_OUT)
    if "validation" not in opened:
        drawn = rows_of_parts(_labels(published, opened[source]), parts, shares)
        rows |= {part: (source, chosen) for part, chosen in drawn.items()}
    skipped: list[str] = []
    samples = {part: _samples(name, *rows[part], opened[rows[part][0]], skipped) for part in PARTS}
    return Content(_names(published, opened["test" if source == "train" else source], classes), samples, skipped)


def _samples_of(name: str, dataset: Any) -> int:
    """How many samples torchvision's object has, which it may read from a file. Raises DataMissing."""
    try:
        return len(dataset)
    except Exception as error:
        raise _not_whole(name, error) from None


def _labels(published: Published, dataset: Any) -> Any:
    """The class index of every sample, or 0 where it is a mask."""
    if published.masks:
        return [0] * len(dataset)
    labels = getattr(dataset, published.labels)
    return [label for _, label in labels] if published.labels == "_samples" else labels


def _names(published: Published, dataset: Any, classes: int) -> list[str]:
    """The names of classes, numbers where torchvision has none."""
    names = list(getattr(dataset, published.names)) if published.names else []
    return [str(name) for name in names] if len(names) == classes else [str(index) for index in range(classes)]


def _samples(name: str, source: str, rows: Sequence[int], dataset: Any, skipped: list[str]) -> Iterator[Sample]:
    def sample(row: int) -> Sample:
        try:
            return _sample(PUBLISHED[name], *dataset[row])
        except Exception as error:
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
                raise  # says nothing of the image
            raise BrokenImage(_one_line(error)) from None

    try:
        yield from mostly_sound(rows, sample, lambda row: f"sample {row} of {source}", skipped)
    except (BrokenImage, FileNotFoundError) as error:
        raise _not_whole(name, error) from None


def _sample(published: Published, image: Any, target: Any) -> Sample:
    if published.masks:
        return fitted_pair(image, target, published.size)
    if target is None:
        raise ValueError("samples without classes; fer2013.csv or icml_face_data.csv has those of test samples")
    pixels = fitted(image, published.size, published.grey)
    return np.swapaxes(pixels, 1, 2) if published.transposed else pixels, int(target)


def _opened(name: str, part: str) -> Any:
    """Torchvision's object of an official part. Raises DataMissing where files are missing or not the official ones."""
    published, folder = PUBLISHED[name], raw_folder(name)
    kind = getattr(_datasets(), published.kind)
    old = folder / published.kind / "processed"
    if old.exists():
        raise UserError(f"Expected {name} as it was published, got {place(old)} of an old torchvision. Remove it.")
    try:
        return kind(str(folder), **published.parts[part])
    except Exception as error:  # its readers raise whatever a broken file leads them to
        raise _not_whole(name, error) from None


def _not_whole(name: str, error: Exception) -> DataMissing:
    return DataMissing(
        f"Expected the data of {name} in {place(raw_folder(name))}, got: {_one_line(error)}. Remove what is there. "
        f"{_again(name)}"
    )


def _again(name: str) -> str:
    published = PUBLISHED[name]
    if published.page is None:
        return f"Run: lossearch download {name}"
    return f"Get {published.layout} from {published.page} and put it there."


def _require_every_class(name: str, data: Prepared) -> None:
    for part in PARTS:
        classes, absent = len(data.about["classes"]), len(data.absent(part))
        if absent:
            raise DataMissing(
                f"Expected {classes} classes in the {part} part of {name}, got {classes - absent}: the files in "
                f"{place(raw_folder(name))} are not the whole data set. Remove them. {_again(name)}"
            )


def _one_line(error: Exception) -> str:
    return shown(" ".join(f"{error or type(error).__name__}".split()), 300).rstrip(".")
