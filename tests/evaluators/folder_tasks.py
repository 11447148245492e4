"""A task on a folder of images, and its parts, for tests."""

from lossearch.evaluators.tasks.folder import FolderData, folder_task


def task_of(folder, **options):
    return folder_task("own", FolderData(folder=str(folder), size=options.pop("size", 8), **options))


def loaded(folder, **options):
    task = task_of(folder, **options)
    splits = task.load()
    return [splits.train, splits.validation, task.load_test()]


def rows(split):
    return {tuple(row) for row in split.inputs.flatten(1).tolist()}
