"""The parts of a task, and a check that they do not mix, for tests."""

import torch

from lossearch.evaluators.tasks import TASKS


def parts(name):
    task = TASKS[name]
    splits = task.load()
    loaded = [splits.train, splits.validation, task.load_test()]
    for part in loaded:
        assert part.inputs.dtype == torch.uint8
        assert part.inputs.shape == (len(part), *task.shape)
        assert part.targets.shape == ((len(part), *task.shape[1:]) if task.dense else (len(part),))
    assert task.load().train.inputs is splits.train.inputs
    return loaded


def rows(part):
    return {tuple(row) for row in part.inputs.flatten(1).tolist()}


def apart(splits):
    train, validation, test = map(rows, splits)
    return not (train & validation or (train | validation) & test)
