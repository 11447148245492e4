"""Tasks that are given as paths: a folder of images or a file of arrays becomes a task on the user's own data."""

import os
import re
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

from lossearch.evaluators.tasks import TASKS
from lossearch.primitives.arguments import require_path
from lossearch.primitives.errors import UserError, WrongType, describe, shown

#: Declared data by the name of its task, as a file has it under ``[data.NAME]``.
Data = dict[str, dict[str, str]]


def name_own_data(tasks: Iterable[str | Path], taken: Iterable[str] = ()) -> tuple[list[str], Data]:
    """Return the names of tasks, and the data of those that were given as paths.

    A path gets the name of its file or folder. ``taken`` are names that other data of the declaration has: they are
    names of tasks, too. Raises UserError for a path that does not exist.
    """
    names: list[str] = []
    data: Data = {}
    taken = set(taken)
    for given in tasks:
        if not isinstance(given, str | os.PathLike):
            raise WrongType(
                f"Expected a task's name, or the path of a folder of images or an .npz file, got {describe(given)}."
            )
        require_path("task", given)
        name = os.fspath(given)
        task = os.path.expanduser(name)
        is_file = os.path.isfile(task)
        # No task of ours has a slash or a point in its name.
        is_path = not isinstance(given, str) or "/" in task or "." in task
        if is_path and not os.path.exists(task):
            raise UserError(
                f"Expected a task, a folder of images or an .npz file, got {shown(name, 200)!r}, which does not exist. "
                "Correct the path."
            )
        if task not in TASKS and task not in taken and (is_file or os.path.isdir(task)):
            stem = Path(task).stem if is_file else Path(task).resolve().name
            plain = re.sub(r"[^A-Za-z0-9_-]", "_", stem).lstrip("_-")[:48] or "data"
            candidates = chain([plain], (f"{plain}_{number}" for number in count(2)))
            name = next(name for name in candidates if name not in TASKS and name not in taken and name not in data)
            data[name] = {"arrays" if is_file else "folder": task}
        names.append(name)
    return names, data
