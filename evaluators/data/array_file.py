"""A file of arrays: an .npz file that is read whole, and checked. Nothing in it is unpickled."""

import zipfile
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lossearch.evaluators.data.data_home import place
from lossearch.evaluators.data.parts import PARTS
from lossearch.evaluators.data.splits import Split
from lossearch.primitives.errors import UserError, nearest

#: The part that all samples are of where a file does not say its parts.
ALL = "all"

_WHOLE = ("inputs", "targets")
_APART = tuple(f"{part}_{name}" for part in PARTS for name in _WHOLE)
_VALIDATION = {f"validation_{name}" for name in _WHOLE}

#: Numbers of channels that an image may have where it is suspected to have them last.
_USUAL_CHANNELS = (1, 3, 4)


def read_arrays(path: Path) -> dict[str, Split]:
    """The samples of each part that the file has, or of ``ALL``. Raises UserError.

    Inputs are [samples, numbers] or [samples, channels, height, width], targets [samples] or [samples, height, width].
    """
    arrays = _read(path)
    parts = [ALL] if arrays.keys() == set(_WHOLE) else [part for part in PARTS if f"{part}_inputs" in arrays]
    found = {}
    for part in parts:
        x, y = (name if part == ALL else f"{part}_{name}" for name in _WHOLE)
        _require_inputs(path, x, arrays[x])
        _require_targets(path, y, arrays[y], arrays[x].shape)
        found[part] = _split(arrays[x], arrays[y])
    shapes = {(each.inputs.shape[1:], each.targets.shape[1:]) for each in found.values()}
    if len(shapes) > 1:
        raise refused(path, "inputs and targets of one shape in all parts", "several")
    return found


def refused(path: Path, expected: str, got: str) -> UserError:
    """The error that says what a file should hold, and what it does."""
    return UserError(f"Expected {expected} in {place(path)}, got {got}.")


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise UserError(f"Expected an .npz file, got no file {place(path)}.")
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise refused(path, "arrays by name as numpy.savez writes them", "one array without a name")
            _require_names(path, list(file))
            return {name: file[name] for name in file}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise refused(path, "arrays of numbers as numpy.savez writes them", f"what cannot be read: {error}") from None


def _require_names(path: Path, names: list[str]) -> None:
    wanted = _WHOLE if set(names) & set(_WHOLE) else _APART
    strange = [name for name in names if name not in wanted]
    if strange:
        raise refused(path, f"arrays {', '.join(wanted)}", f"{strange[0]!r}{nearest(strange[0], _WHOLE + _APART)}")
    optional = set() if _VALIDATION & set(names) else _VALIDATION
    missing = [name for name in wanted if name not in names and name not in optional]
    if missing:
        choice = f"arrays {', '.join(_WHOLE)}, or {', '.join(_APART)}"
        raise refused(path, choice, f"no {', '.join(missing)}")


def _require_inputs(path: Path, name: str, inputs: NDArray[Any]) -> None:
    shape = inputs.shape
    if inputs.ndim not in (2, 4) or 0 in shape:
        kinds = f"{name} [samples, numbers] or [samples, channels, height, width]"
        raise refused(path, f"{kinds}, such as {name}[:, None] of images without channels", f"shape {list(shape)}")
    if inputs.ndim == 4 and shape[3] in _USUAL_CHANNELS and shape[1] not in _USUAL_CHANNELS:
        wanted = f"{name} [samples, channels, height, width], such as {name}.transpose(0, 3, 1, 2)"
        raise refused(path, wanted, f"shape {list(shape)}, channels last")
    if inputs.dtype != np.uint8 and inputs.dtype.kind != "f":
        raise refused(path, f"{name} of bytes of images (uint8) or of numbers (float32)", str(inputs.dtype))
    if inputs.dtype.kind == "f":
        strange = int((~np.isfinite(inputs)).sum())
        if strange:
            raise refused(path, f"finite numbers in {name}", f"others in {strange} places")


def _require_targets(path: Path, name: str, targets: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise UserError unless they are class indices of inputs of this shape, or of their pixels."""
    if targets.dtype.kind not in "iu":
        raise refused(path, f"{name} of whole numbers", str(targets.dtype))
    fitting = [shape[:1], *([(shape[0], *shape[2:])] if len(shape) == 4 else [])]
    if targets.shape not in fitting:
        wanted = " or ".join(str(list(each)) for each in fitting)
        raise refused(path, f"{name} of shape {wanted}, as the inputs have", f"shape {list(targets.shape)}")
    if targets.ndim == 1 and targets.min() < 0:
        raise refused(path, f"{name} from 0 on", str(targets.min()))


def _split(inputs: NDArray[Any], targets: NDArray[Any]) -> Split:
    """Both as tensors; pixels without a class have the target -1."""
    numbers = inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32)
    return Split(torch.from_numpy(numbers), torch.from_numpy(targets.astype(np.int64).clip(min=-1)))


def same_samples(splits: Iterable[Split]) -> int:
    """How many samples stand in more than one of the splits, to the last number."""
    rows = [{blake2b(row.numpy().tobytes(), digest_size=16).digest() for row in split.inputs} for split in splits]
    return sum(map(len, rows)) - len(set().union(*rows))
