"""The tasks by name: each is data, its split, its corruption and a metric."""

from functools import lru_cache

from lossearch.evaluators.tasks import digits, downloaded, procedural
from lossearch.evaluators.tasks.own_data import OwnData, own_task
from lossearch.evaluators.tasks.task import Task
from lossearch.primitives.errors import UserError, nearest

#: Every task by name.
TASKS: dict[str, Task] = {task.name: task for task in (*digits.TASKS, *procedural.TASKS, *downloaded.TASKS)}


def known_task(name: str) -> Task:
    """The task of this name; UserError with the nearest known names where there is none."""
    if name not in TASKS:
        raise UserError(f"Unknown task {name!r}{nearest(name, TASKS)}")
    return TASKS[name]


#: Tasks whose data was sent to this process, in the place of those that would read files here.
_SENT: dict[tuple[str, OwnData | None], Task] = {}


def task_on(name: str, data: OwnData | None = None) -> Task:
    """The task of this name: on data of the user's where it is given, else the known one. Raises UserError."""
    sent = _SENT.get((name, data))
    if sent is not None:
        return sent
    return known_task(name) if data is None else _own_task(name, data)


def use_sent(name: str, data: OwnData | None, task: Task) -> None:
    """Let this process, a worker, train on what was sent to it whenever the task of this name is asked for."""
    _SENT[name, data] = task


@lru_cache(maxsize=32)  # one task, so that its data is loaded once
def _own_task(name: str, data: OwnData) -> Task:
    return own_task(name, data)
