"""Torchvision's data sets as prepared data. Only this file imports torchvision, and MNIST and its like need none.

Torchvision unpickles the batches of CIFAR, but only after it has compared the checksum of every file with the official
one. It would also read, unchecked, the folder ``processed`` that an old version left for MNIST and similar data sets:
such a folder is refused. All other files are arrays, tables and images.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from string import ascii_uppercase, digits
from typing import Any

import numpy as np

from lossearch.evaluators.data.data_home import DataMissing, list_files, raw_folder, shown_path
from lossearch.evaluators.data.idx import SYSTEM, IdxImages, find_idx
from lossearch.evaluators.data.images import BrokenImage, fit, fit_pair, sound_samples, warn_of_skipped
from lossearch.evaluators.data.parts import HELD_OUT, PARTS, SHARES, draw_rows
from lossearch.evaluators.data.prepared import Content, Prepared, Sample, prepare
from lossearch.primitives.errors import UserError, shown


@dataclass(frozen=True)
class Published:
    """A data set of torchvision's, and how to read it."""

    kind: str  #: name of its class in torchvision.datasets
    parts: Mapping[str, Mapping[str, Any]]  #: arguments of this class for each official part, or for the part ``all``
    size: int  #: pixels each way to which its images are scaled
    labels: str = "targets"  #: attribute with the class index of each sample
    names: str | None = "classes"  #: attribute with the names of classes, if there is one
    archives: bool = False  #: True if each official part has files of its own
    masks: bool = False  #: True if every pixel has a class
    grey: bool = False
    transposed: bool = False  #: True if the rows of its images are columns
    page: str | None = None  #: page where a person can get data that torchvision does not fetch
    layout: str = ""  #: path below its folder for the file from this page
    idx: Mapping[str, str] = field(default_factory=dict)  #: start of the names of its idx files, by official part
    class_names: Sequence[str] = ()  #: of idx files, which have none


_TRAIN = {"train": {"train": True}, "test": {"train": False}}
_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
_BALANCED = {part: {"split": "balanced", **arguments} for part, arguments in _TRAIN.items()}
_IDX = {"train": "train", "test": "t10k"}
_EMNIST = {part: f"emnist-balanced-{part}" for part in ("train", "test")}
#: Names of classes as torchvision has them.
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGITS = tuple(f"{number} - {name}" for number, name in enumerate(_NUMBERS))
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CHARACTERS = (*digits, *ascii_uppercase, *"abdefghnqrt")

_VOC = {"train": {"year": "2012", "image_set": "train"}, "test": {"year": "2012", "image_set": "val"}}

#: Data sets by the name of their task.
PUBLISHED = {
    "mnist": Published("MNIST", _TRAIN, 28, grey=True, idx=_IDX, class_names=_DIGITS),
    "fashion_mnist": Published("FashionMNIST", _TRAIN, 28, grey=True, idx=_IDX, class_names=_CLOTHES),
    "emnist_balanced": Published(
        "EMNIST", _BALANCED, 28, grey=True, transposed=True, idx=_EMNIST, class_names=_CHARACTERS
    ),
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

#: Errors that broken downloads and archives raise.
_DOWNLOAD_ERRORS = (
    *(OSError, RuntimeError, ImportError, ValueError, EOFError),
    *(HTTPException, tarfile.TarError, zipfile.BadZipFile, zlib.error),
)


def read_torchvision(name: str, classes: int) -> Prepared:
    """Prepare the official parts of a data set. Validation is drawn from train if there is no official one.

    Warns of a few broken images. Raises DataMissing if files are missing or incomplete, and UserError if torchvision
    is missing.
    """
    published, folder = PUBLISHED[name], _find_folder(name)
    files = list_files(folder)
    how = [published.size, published.grey, published.transposed, classes]
    decides = {"folder": str(folder), "files": files, "how": how}
    data = prepare(name, decides, lambda: _read_content(name, classes))
    if not published.masks:
        _require_every_class(name, data)
    warn_of_skipped(data, folder)
    return data


def require_readable(name: str) -> None:
    """Raise DataMissing if there are no files of a data set, and UserError if what reads them cannot be imported."""
    _find_folder(name)
    if any(_find_idx(name, part) is None for part in PUBLISHED[name].parts):
        _import_datasets()


def has_files(name: str) -> bool:
    """Return True if there are files of a data set."""
    try:
        _find_folder(name)
    except DataMissing:
        return False
    return True


def _find_folder(name: str) -> Path:
    """Return the folder with the files of a data set: ours, or that of a system's package. Raises DataMissing."""
    folder, of_system = raw_folder(name), SYSTEM / name.replace("_", "-")
    if list_files(folder):
        return folder
    if PUBLISHED[name].idx and list_files(of_system):
        return of_system
    raise DataMissing(f"The data of the task {name} is not in {shown_path(folder)}. {_explain_how_to_get(name)}")


def _find_idx(name: str, part: str) -> tuple[Path, Path] | None:
    """Return the idx files of an official part, wherever they lie below the folder; None if it has none."""
    published, folder = PUBLISHED[name], _find_folder(name)
    prefix = published.idx.get(part)
    places = [folder / published.kind / "raw", folder / published.kind, folder / "raw", folder]
    return None if prefix is None else find_idx(places, prefix)


def download(name: str) -> Path:
    """Let torchvision fetch a data set into its folder, and return the folder. Raises UserError."""
    published, folder = PUBLISHED[name], raw_folder(name)
    kind = getattr(_import_datasets(), published.kind)
    folder.mkdir(parents=True, exist_ok=True)
    parts = list(published.parts.values())
    for arguments in parts if published.archives else parts[:1]:
        try:
            kind(str(folder), download=True, **arguments)
        except _DOWNLOAD_ERRORS as error:
            raise UserError(
                f"Expected to download {name} into {shown_path(folder)}, got: {_flatten(error)}. Try again, or put "
                "its files there as torchvision would."
            ) from None
    return folder


def _import_datasets() -> Any:
    """Import the module torchvision.datasets. Raises UserError if it cannot be imported."""
    import torch

    try:
        from torchvision import datasets
    except ImportError as error:
        raise UserError(
            f"Expected torchvision, which reads this data, got: {_flatten(error)}. Run: pip install 'lossearch[vision]'"
        ) from None
    except RuntimeError as error:  # for example one of the two is built for CPUs and the other for GPUs
        raise UserError(
            f"Expected a torchvision that suits torch {torch.__version__}, got: {_flatten(error)}. Install both "
            "from one index, as pytorch.org says for your machine."
        ) from None
    return datasets


def _read_content(name: str, classes: int) -> Content:
    """Read all parts, with one object of torchvision's for each official part."""
    published = PUBLISHED[name]
    opened = {part: _open(name, part) for part in published.parts}
    rows: dict[str, tuple[str, Sequence[int]]] = {
        part: (part, range(_count_samples(name, dataset))) for part, dataset in opened.items()
    }
    source, parts, shares = ("all", PARTS, SHARES) if "all" in opened else ("train", PARTS[:2], HELD_OUT)
    if "validation" not in opened:
        drawn = draw_rows(_read_labels(published, opened[source]), parts, shares)
        rows |= {part: (source, chosen) for part, chosen in drawn.items()}
    skipped: list[str] = []
    samples = {part: _read_samples(name, *rows[part], opened[rows[part][0]], skipped) for part in PARTS}
    return Content(
        _list_class_names(published, opened["test" if source == "train" else source], classes), samples, skipped
    )


def _count_samples(name: str, dataset: Any) -> int:
    """Count the samples of torchvision's object, which may read a file for this. Raises DataMissing."""
    try:
        return len(dataset)
    except Exception as error:
        raise _incomplete_data(name, error) from None


def _read_labels(published: Published, dataset: Any) -> Any:
    """Return the class index of every sample, or 0 for samples with masks."""
    if published.masks:
        return [0] * len(dataset)
    labels = getattr(dataset, published.labels)
    return [label for _, label in labels] if published.labels == "_samples" else labels


def _list_class_names(published: Published, dataset: Any, classes: int) -> list[str]:
    """Return the names of classes, or their numbers if torchvision has no names."""
    names = list(getattr(dataset, published.names)) if published.names else []
    return [str(name) for name in names] if len(names) == classes else [str(index) for index in range(classes)]


def _read_samples(name: str, source: str, rows: Sequence[int], dataset: Any, skipped: list[str]) -> Iterator[Sample]:
    def sample(row: int) -> Sample:
        try:
            return _read_sample(PUBLISHED[name], *dataset[row])
        except Exception as error:
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
                raise  # an error of the system, not of the image
            raise BrokenImage(_flatten(error)) from None

    try:
        yield from sound_samples(rows, sample, lambda row: f"sample {row} of {source}", skipped)
    except (BrokenImage, FileNotFoundError) as error:
        raise _incomplete_data(name, error) from None


def _read_sample(published: Published, image: Any, target: Any) -> Sample:
    if published.masks:
        return fit_pair(image, target, published.size)
    if target is None:
        raise ValueError("samples without classes; fer2013.csv or icml_face_data.csv has those of test samples")
    pixels = fit(image, published.size, published.grey)
    return np.swapaxes(pixels, 1, 2) if published.transposed else pixels, int(target)


def _open(name: str, part: str) -> Any:
    """Open an official part with torchvision. Raises DataMissing if files are missing or are not the official ones."""
    published, folder = PUBLISHED[name], raw_folder(name)
    stale = folder / published.kind / "processed"
    if stale.exists():
        raise UserError(
            f"Expected {name} as it was published, got {shown_path(stale)} of an old torchvision. Remove it."
        )
    idx = _find_idx(name, part)
    datasets = None if idx is not None else _import_datasets()
    try:
        if idx is not None:
            return IdxImages(*idx, published.class_names)
        return getattr(datasets, published.kind)(str(folder), **published.parts[part])
    except Exception as error:  # a broken file can make its readers raise any error
        raise _incomplete_data(name, error) from None


def _incomplete_data(name: str, error: Exception) -> DataMissing:
    return DataMissing(
        f"Expected the data of {name} in {shown_path(raw_folder(name))}, got: {_flatten(error)}. Remove what is "
        f"there. {_explain_how_to_get(name)}"
    )


def _explain_how_to_get(name: str) -> str:
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
                f"{shown_path(raw_folder(name))} are incomplete. Remove them. {_explain_how_to_get(name)}"
            )


def _flatten(error: Exception) -> str:
    return shown(" ".join(f"{error or type(error).__name__}".split()), 300).rstrip(".")
