"""An .npz file of arrays, read whole and checked. Nothing in it is unpickled."""

import zipfile
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lossearch.evaluators.data.data_home import shown_path
from lossearch.evaluators.data.parts import PARTS
from lossearch.evaluators.data.splits import Split
from lossearch.primitives.errors import UserError, nearest

#: The one part of a file that does not name its parts.
ALL = "all"

_WHOLE = ("inputs", "targets")
_BY_PART = tuple(f"{part}_{name}" for part in PARTS for name in _WHOLE)
_VALIDATION = {f"validation_{name}" for name in _WHOLE}

#: Common numbers of image channels. An image whose last axis has one of these, and whose second has not, is suspected
#: to have its channels last.
_USUAL_CHANNELS = (1, 3, 4)


def read_arrays(path: Path) -> dict[str, Split]:
    """Read the samples of each part of the file, or of the one part ``ALL``. Raises UserError.

    Inputs are [samples, numbers] or [samples, channels, height, width], targets [samples] or [samples, height, width].
    """
    arrays = _load(path)
    parts = [ALL] if arrays.keys() == set(_WHOLE) else [part for part in PARTS if f"{part}_inputs" in arrays]
    splits = {}
    for part in parts:
        inputs, targets = (name if part == ALL else f"{part}_{name}" for name in _WHOLE)
        _require_inputs(path, inputs, arrays[inputs])
        _require_targets(path, targets, arrays[targets], arrays[inputs].shape)
        splits[part] = _split(arrays[inputs], arrays[targets])
    shapes = {(split.inputs.shape[1:], split.targets.shape[1:]) for split in splits.values()}
    if len(shapes) > 1:
        raise file_error(path, "inputs and targets of the same shape in all parts", "different shapes")
    return splits


def count_duplicates(splits: Iterable[Split]) -> int:
    """Count the samples whose inputs occur in more than one of the splits, bit for bit."""
    hashes = [{blake2b(row.numpy().tobytes(), digest_size=16).digest() for row in split.inputs} for split in splits]
    return sum(map(len, hashes)) - len(set().union(*hashes))


def file_error(path: Path, expected: str, got: str) -> UserError:
    """Return the error for a file that should hold one thing and holds another."""
    return UserError(f"Expected {expected} in {shown_path(path)}, got {got}.")


def _load(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise UserError(f"Expected an .npz file, got no file {shown_path(path)}. Correct the path.")
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise file_error(path, "named arrays as numpy.savez writes them", "one array without a name")
            _require_names(path, list(file))
            return {name: file[name] for name in file}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        expected = "arrays of numbers as numpy.savez writes them"
        raise file_error(path, expected, f"a file that cannot be read: {error}") from None


def _require_names(path: Path, names: list[str]) -> None:
    expected = _WHOLE if set(names) & set(_WHOLE) else _BY_PART
    unknown = [name for name in names if name not in expected]
    if unknown:
        got = f"{unknown[0]!r}{nearest(unknown[0], _WHOLE + _BY_PART)}"
        raise file_error(path, f"arrays {', '.join(expected)}", got)
    optional = set() if _VALIDATION & set(names) else _VALIDATION
    missing = [name for name in expected if name not in names and name not in optional]
    if missing:
        choice = f"arrays {', '.join(_WHOLE)}, or {', '.join(_BY_PART)}"
        raise file_error(path, choice, f"no {', '.join(missing)}")


def _require_inputs(path: Path, name: str, inputs: NDArray[Any]) -> None:
    shape = inputs.shape
    if inputs.ndim not in (2, 4) or 0 in shape:
        expected = f"{name} of shape [samples, numbers] or [samples, channels, height, width]"
        advice = f"such as {name}[:, None] for images without channels"
        raise file_error(path, f"{expected}, {advice}", f"shape {list(shape)}")
    if inputs.ndim == 4 and shape[3] in _USUAL_CHANNELS and shape[1] not in _USUAL_CHANNELS:
        expected = f"{name} of shape [samples, channels, height, width], such as {name}.transpose(0, 3, 1, 2)"
        raise file_error(path, expected, f"shape {list(shape)}, channels last")
    if inputs.dtype != np.uint8 and inputs.dtype.kind != "f":
        raise file_error(path, f"{name} of image bytes (uint8) or numbers (float32)", str(inputs.dtype))
    if inputs.dtype.kind == "f":
        num_infinite = int((~np.isfinite(inputs)).sum())
        if num_infinite:
            raise file_error(path, f"finite numbers in {name}", f"{num_infinite} numbers that are not")


def _require_targets(path: Path, name: str, targets: NDArray[Any], inputs_shape: tuple[int, ...]) -> None:
    """Raise UserError unless the targets are class indices of the inputs, or of their pixels."""
    if targets.dtype.kind not in "iu":
        raise file_error(path, f"whole numbers in {name}", str(targets.dtype))
    shapes = [inputs_shape[:1]]
    if len(inputs_shape) == 4:
        shapes.append((inputs_shape[0], *inputs_shape[2:]))
    if targets.shape not in shapes:
        expected = " or ".join(str(list(shape)) for shape in shapes)
        raise file_error(path, f"{name} of shape {expected} to match the inputs", f"shape {list(targets.shape)}")
    if targets.ndim == 1 and targets.min() < 0:
        raise file_error(path, f"numbers of at least 0 in {name}", str(targets.min()))


def _split(inputs: NDArray[Any], targets: NDArray[Any]) -> Split:
    """Convert both to tensors. Pixels without a class have the target -1."""
    numbers = inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32)
    return Split(torch.from_numpy(numbers), torch.from_numpy(targets.astype(np.int64).clip(min=-1)))
