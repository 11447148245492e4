"""Given tasks: tasks whose data another process sends, so that a worker needs none of their files.

Invariant: a task that was packed and unpacked gives the same tensors; the arrays between may be mapped read-only, and
are shared by all processes of a machine.
"""

import warnings
from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from lossearch.evaluators.data.splits import Pairs, Split, Splits
from lossearch.evaluators.tasks.task import Task

#: The arrays of a part of the data, by their names.
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class PackedTask:
    """A task without its data, and the data as arrays by part; the test part only where it was asked for."""

    task: Task
    parts: dict[str, Arrays]


def packed(task: Task, test: bool) -> PackedTask:
    """A task with its data, to be sent. Raises UserError where the data cannot be loaded."""
    splits = task.load()
    parts = {"train": _arrays(splits.train), "validation": _arrays(splits.validation)}
    if test:
        parts["test"] = _arrays(task.load_test())
    return PackedTask(replace(task, load=_unsent, load_test=_unsent), parts)


def unpacked(sent: PackedTask) -> Task:
    """The task on the arrays that were sent, without a copy."""
    parts = {name: _split(arrays) for name, arrays in sent.parts.items()}
    splits = Splits(parts["train"], parts["validation"])
    return replace(sent.task, load=lambda: splits, load_test=lambda: parts["test"] if "test" in parts else _unsent())


def _unsent() -> NoReturn:
    raise RuntimeError("this part of the data was not sent")


def _arrays(split: Split) -> Arrays:
    found = {"inputs": split.inputs.numpy(), "targets": split.targets.numpy()}
    if split.pairs is not None:
        found |= {each.name: getattr(split.pairs, each.name).numpy() for each in fields(Pairs)}
    return found


def _split(arrays: Arrays) -> Split:
    tensors = {name: _shared(array) for name, array in arrays.items()}
    pairs = Pairs(*(tensors[each.name] for each in fields(Pairs))) if "same" in tensors else None
    return Split(tensors["inputs"], tensors["targets"], pairs)


def _shared(array: NDArray[Any]) -> torch.Tensor:
    """A tensor on an array that may be read-only: nothing writes to the data of a task."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))
