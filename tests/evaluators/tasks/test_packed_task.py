"""A packed task arrives with the same data."""

import pickle
import warnings

import pytest
import torch

from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.tasks.packed_task import pack_task, unpack_task

WITHOUT_DOWNLOAD = [task for task in TASKS.values() if not task.needs_download]


def same(first, other):
    pairs = [(first.inputs, other.inputs), (first.targets, other.targets)]
    if first.pairs is not None:
        pairs += [(getattr(first.pairs, name), getattr(other.pairs, name)) for name in ("first", "second", "same")]
    assert (first.pairs is None) == (other.pairs is None)
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("task", WITHOUT_DOWNLOAD, ids=lambda task: task.name)
def test_a_task_that_was_sent_gives_the_same_data(task):
    sent = unpack_task(pickle.loads(pickle.dumps(pack_task(task, test=True))))
    assert same(sent.load().train, task.load().train)
    assert same(sent.load().validation, task.load().validation)
    assert same(sent.load_test(), task.load_test())
    assert (sent.name, sent.classes, sent.shape, sent.metric.name) == (
        task.name,
        task.classes,
        task.shape,
        task.metric.name,
    )


def test_the_test_part_is_sent_only_on_request():
    sent = unpack_task(pack_task(TASKS["digits"], test=False))
    with pytest.raises(RuntimeError, match="was not sent"):
        sent.load_test()


def test_read_only_arrays_are_used_without_a_copy():
    sent = pack_task(TASKS["digits"], test=False)
    for part in sent.parts.values():
        for array in part.values():
            array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = unpack_task(sent)
    assert task.load().train.inputs.data_ptr() == sent.parts["train"]["inputs"].ctypes.data
