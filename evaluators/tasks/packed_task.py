"""A task packed with its data, to be sent to another process, so that a worker needs none of its files.

Invariant: packing and unpacking a task preserves its tensors. The arrays in between may be mapped read-only, and all
processes of a machine share them.
"""

import warnings
from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from lossearch.evaluators.data.splits import Pairs, Split, Splits
from lossearch.evaluators.tasks.task import Task

#: The arrays of a part of the data by name.
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class PackedTask:
    """A task without its data, and the data as arrays by part. The test part is optional."""

    task: Task
    parts: dict[str, Arrays]


def pack_task(task: Task, test: bool) -> PackedTask:
    """Pack a task with its data, and with its test part if ``test``. Raises UserError if the data cannot be loaded."""
    splits = task.load()
    parts = {"train": _list_arrays(splits.train), "validation": _list_arrays(splits.validation)}
    if test:
        parts["test"] = _list_arrays(task.load_test())
    return PackedTask(replace(task, load=_fail, load_test=_fail), parts)


def unpack_task(packed: PackedTask) -> Task:
    """Make a task on the arrays that were sent, without a copy."""
    parts = {name: _split(arrays) for name, arrays in packed.parts.items()}
    splits = Splits(parts["train"], parts["validation"])
    return replace(packed.task, load=lambda: splits, load_test=lambda: parts["test"] if "test" in parts else _fail())


def _fail() -> NoReturn:
    raise RuntimeError("this part of the data was not sent")


def _list_arrays(split: Split) -> Arrays:
    arrays = {"inputs": split.inputs.numpy(), "targets": split.targets.numpy()}
    if split.pairs is not None:
        arrays |= {field.name: getattr(split.pairs, field.name).numpy() for field in fields(Pairs)}
    return arrays


def _split(arrays: Arrays) -> Split:
    tensors = {name: _share_as_tensor(array) for name, array in arrays.items()}
    pairs = Pairs(*(tensors[field.name] for field in fields(Pairs))) if "same" in tensors else None
    return Split(tensors["inputs"], tensors["targets"], pairs)


def _share_as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Share the memory of an array that may be read-only: nothing writes to the data of a task."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))
