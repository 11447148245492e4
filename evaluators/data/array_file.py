"""An .npz file of arrays, read whole and checked. Nothing in it is unpickled."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lossearch.evaluators.data.data_home import shown_path
from lossearch.evaluators.data.packed_arrays import (
    UNPACKED_TO_PACKED,
    NotPacked,
    PackedArrays,
    PythonObjects,
    TooMuchToUnpack,
    is_single_array,
)
from lossearch.evaluators.data.parts import PARTS
from lossearch.evaluators.data.splits import Split
from lossearch.primitives.errors import UserError, nearest, shown

#: What is read, and how to make it of anything else.
_CONVERT = (
    "Folders of images and .npz files are read. To write one, read yours in Python and call "
    "numpy.savez('mine.npz', inputs=inputs, targets=targets), with numbers in both."
)

#: The one part of a file that does not name its parts.
ALL = "all"

_WHOLE = ("inputs", "targets")
_BY_PART = tuple(f"{part}_{name}" for part in PARTS for name in _WHOLE)
_VALIDATION = {f"validation_{name}" for name in _WHOLE}

#: Common numbers of image channels. An image whose last axis has one of these, and whose second has not, is suspected
#: to have its channels last.
_USUAL_CHANNELS = (1, 3, 4)

#: Number of the last class that pixels may have.
_LARGEST_CLASS = 65_535


def read_arrays(path: Path) -> dict[str, Split]:
    """Read the samples of each part of the file, or of the one part ``ALL``. Raises UserError.

    Inputs are [samples, numbers] or [samples, channels, height, width], targets [samples] or [samples, height, width].
    Distinct labels stay distinct: one above the largest int64 becomes negative, see :func:`written_label`.
    """
    arrays = _load(path)
    parts = [ALL] if arrays.keys() == set(_WHOLE) else [part for part in PARTS if f"{part}_inputs" in arrays]
    splits = {}
    for part in parts:
        inputs, targets = (name if part == ALL else f"{part}_{name}" for name in _WHOLE)
        _require_inputs(path, inputs, arrays[inputs])
        _require_targets(path, targets, arrays[targets], arrays[inputs].shape)
        splits[part] = Split(
            torch.from_numpy(_convert_inputs(path, inputs, arrays.pop(inputs))),
            torch.from_numpy(_convert_targets(arrays.pop(targets))),
        )
    for what, kinds in (
        ("shape", {(split.inputs.shape[1:], split.targets.shape[1:]) for split in splits.values()}),
        ("type", {split.inputs.dtype for split in splits.values()}),
    ):
        if len(kinds) > 1:
            raise file_error(path, f"inputs and targets of the same {what} in all parts", f"different {what}s")
    return splits


def written_label(target: int) -> int:
    """Return the label of a sample as the file has it: labels above the largest int64 were read as negative."""
    return target % 2**64


def file_error(path: Path, expected: str, got: str, advice: str = "") -> UserError:
    """Return the error for a file that should hold one thing and holds another; ``advice`` is a sentence."""
    end = "" if got.endswith("?") else "."
    return UserError(f"Expected {expected} in {shown_path(path)}, got {got}{end} {advice}".rstrip())


def _load(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no file"
        raise UserError(f"Expected an .npz file, got {got} {shown_path(path)}. Correct the path.")
    try:
        with path.open("rb") as stream:
            if is_single_array(stream):
                raise file_error(path, "named arrays as numpy.savez writes them", "one array without a name", _CONVERT)
            with PackedArrays(stream) as packed:
                _require_names(path, packed.names)
                return {name: packed.read(name) for name in packed.names}
    except TooMuchToUnpack as error:
        expected = f"arrays of at most {UNPACKED_TO_PACKED} times their packed size"
        raise file_error(path, expected, str(error), "Save it with numpy.savez, which does not compress.") from None
    except UserError:
        raise
    except NotPacked:
        got = f"{_describe_kind(path)}, which cannot be read"
        raise file_error(path, "arrays as numpy.savez writes them", got, _CONVERT) from None
    except PythonObjects as error:
        name = shown(str(error))
        advice = advise_numbering(name) if name.endswith("targets") else f"Save {name}.astype('float32')."
        got = f"Python objects in {name}, such as texts, which cannot be read: that could run code"
        raise file_error(path, "arrays of numbers", got, advice) from None
    except Exception as error:  # a damaged file can make its readers raise any error
        expected = "arrays of numbers as numpy.savez writes them"
        reason = shown(" ".join(f"{error or type(error).__name__}".split()), 200)
        raise file_error(path, expected, f"a file that cannot be read: {reason}", "Write it anew.") from None


def _describe_kind(path: Path) -> str:
    """Describe a file that packs no arrays by its beginning and its ending."""
    with path.open("rb") as stream:
        beginning = stream.read(512)
    if not beginning:
        return "an empty file"
    if beginning[:2] == b"PK":
        return "a file whose end is missing"
    ending = f"a {shown(path.suffix)} file" if path.suffix and path.suffix != ".npz" else "another file"
    return f"{ending} of text" if b"\0" not in beginning and beginning.isascii() else ending


def _require_names(path: Path, names: list[str]) -> None:
    expected = _WHOLE if set(names) & set(_WHOLE) else _BY_PART
    unknown = [name for name in names if name not in expected]
    if unknown:
        got = f"{shown(unknown[0])!r}{nearest(unknown[0], _WHOLE + _BY_PART)}"
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
        advice = f"Save {name}.astype('float32')." if inputs.dtype.kind in "iub" else ""
        raise file_error(path, f"{name} of image bytes (uint8) or numbers (float32)", _name_type(inputs), advice)


def _require_targets(path: Path, name: str, targets: NDArray[Any], inputs_shape: tuple[int, ...]) -> None:
    """Raise UserError unless the targets are class indices of the inputs, or of their pixels."""
    if targets.dtype.kind not in "iub":
        # numpy.unique would flatten the classes of pixels, and number each entry of one-hot rows
        advice = advise_numbering(name) if targets.ndim == 1 else f"Save {name}.astype('int64')."
        raise file_error(path, f"whole numbers in {name}", _name_type(targets), advice)
    shapes = [inputs_shape[:1]]
    if len(inputs_shape) == 4:
        shapes.append((inputs_shape[0], *inputs_shape[2:]))
    if targets.shape not in shapes:
        expected = " or ".join(str(list(shape)) for shape in shapes)
        is_one_hot = targets.ndim == 2 and len(targets) == inputs_shape[0] and targets.shape[1] > 1
        advice = f"{name}.argmax(1) numbers one-hot classes." if is_one_hot else ""
        got = f"shape {list(targets.shape)}"
        raise file_error(path, f"{name} of shape {expected} to match the inputs", got, advice)
    if targets.ndim == 1 and targets.min() < 0:
        raise file_error(path, f"numbers of at least 0 in {name}", str(targets.min()), advise_numbering(name))
    if targets.ndim > 1 and int(targets.max()) > _LARGEST_CLASS:
        raise file_error(path, f"classes of pixels up to {_LARGEST_CLASS} in {name}", str(targets.max()))


def advise_numbering(name: str) -> str:
    """Say how to number classes."""
    return f"numpy.unique({name}, return_inverse=True)[1] numbers classes of any kind from 0 on."


def _name_type(array: NDArray[Any]) -> str:
    return f"{'texts, ' if array.dtype.kind in 'US' else ''}{shown(str(array.dtype))}"


def _convert_inputs(path: Path, name: str, inputs: NDArray[Any]) -> NDArray[Any]:
    """Convert numbers to float32. Raises UserError if one is not finite then, or if a column has become constant."""
    if inputs.dtype == np.uint8:
        return np.ascontiguousarray(inputs)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        numbers = np.ascontiguousarray(inputs, np.float32)
    num_infinite = numbers.size - int(np.isfinite(numbers).sum())
    if num_infinite:
        too_large = int(np.isfinite(inputs).sum()) - numbers.size + num_infinite
        kind = f"{too_large} beyond 3.4e38" if too_large == num_infinite else "NaN or infinity"
        expected = f"finite numbers in {name}, as float32"
        raise file_error(path, expected, f"{num_infinite} numbers that are not: {kind}", "Scale or remove them.")
    if inputs.dtype.itemsize > 4:
        rows, narrow = inputs.reshape(len(inputs), -1), numbers.reshape(len(inputs), -1)
        lost = np.nonzero((rows[:1] != rows).any(0) & (narrow[:1] == narrow).all(0))[0]
        if inputs.ndim == 2 and len(lost):
            got = f"column {lost[0]}, from {rows[:, lost[0]].min()} to {rows[:, lost[0]].max()}"
            advice = "Subtract the mean of each column and divide by its deviation."
            raise file_error(path, f"columns of {name} that differ between samples as float32, too", got, advice)
    return numbers


def _convert_targets(targets: NDArray[Any]) -> NDArray[np.int64]:
    """Convert to int64. Pixels without a class have the target -1. Labels above the largest int64 become negative."""
    indices = targets.astype(np.int64)
    return indices if targets.ndim == 1 else indices.clip(min=-1)
