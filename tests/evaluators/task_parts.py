"""Parts of a task, and whether they mix, for tests."""

import torch

from lossearch.evaluators.tasks import TASKS


def parts(name):
    task = TASKS[name]
    splits = task.load()
    found = [splits.train, splits.validation, task.load_test()]
    for part in found:
        assert part.inputs.dtype == torch.uint8
        assert part.inputs.shape == (len(part), *task.shape)
        assert part.targets.shape == ((len(part), *task.shape[1:]) if task.dense else (len(part),))
    assert task.load().train.inputs is splits.train.inputs
    return found


def rows(part):
    return {tuple(row) for row in part.inputs.flatten(1).tolist()}


def apart(found):
    return not (rows(found[0]) & rows(found[1]) or (rows(found[0]) | rows(found[1])) & rows(found[2]))
