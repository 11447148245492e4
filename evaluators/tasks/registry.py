"""The tasks by name: known ones, those on a user's own data, and those whose data was sent to this process."""

from functools import lru_cache

from lossearch.evaluators.tasks import digits, downloaded, procedural
from lossearch.evaluators.tasks.own_data import OwnData, own_task
from lossearch.evaluators.tasks.task import Task
from lossearch.primitives.errors import UserError, nearest

#: Every known task by name.
TASKS: dict[str, Task] = {task.name: task for task in (*digits.TASKS, *procedural.TASKS, *downloaded.TASKS)}

#: Tasks on data that was sent to this process, which replace those that would read files here.
_SENT: dict[tuple[str, OwnData | None], Task] = {}


def known_task(name: str) -> Task:
    """Return the known task of this name. Raises UserError, with the nearest known names, if there is none."""
    if name not in TASKS:
        raise UserError(f"Unknown task {name!r}{nearest(name, TASKS)}")
    return TASKS[name]


def task_on(name: str, data: OwnData | None = None) -> Task:
    """Return the task of this name on a user's data, or the known task if there is none. Raises UserError."""
    sent = _SENT.get((name, data))
    if sent is not None:
        return sent
    return known_task(name) if data is None else _own_task(name, data)


def use_sent_task(name: str, data: OwnData | None, task: Task) -> None:
    """Make :func:`task_on` return a task on data that was sent to this process, a worker."""
    _SENT[name, data] = task


@lru_cache(maxsize=32)  # the same task each time, so that its data is loaded once
def _own_task(name: str, data: OwnData) -> Task:
    return own_task(name, data)
