"""The tasks by name: known ones, those on a user's own data, and those whose data was sent to this process."""

from lossearch.evaluators.data.data_home import FileState
from lossearch.evaluators.tasks import digits, downloaded, procedural
from lossearch.evaluators.tasks.own_data import OwnData, own_task
from lossearch.evaluators.tasks.task import Task
from lossearch.primitives.errors import UserError, nearest

#: Every known task by name.
TASKS: dict[str, Task] = {task.name: task for task in (*digits.TASKS, *procedural.TASKS, *downloaded.TASKS)}

#: Tasks on data that was sent to this process, which replace those that would read files here.
_SENT: dict[tuple[str, OwnData | None], Task] = {}


#: Tasks on a user's own data, each with the state of its files when they were read.
_OWN: dict[tuple[str, OwnData], tuple[FileState, Task]] = {}

#: Most tasks on own data that are kept in memory.
_MAX_TASKS = 32


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


def refresh_own_tasks() -> None:
    """Forget the tasks whose files have changed since they were read. Call it only between runs."""
    for key, (state, _) in list(_OWN.items()):
        if state != key[1].state():
            del _OWN[key]


def _own_task(name: str, data: OwnData) -> Task:
    """Return the same task each time, so that its data is loaded once, and that a run has one state of it."""
    if (name, data) not in _OWN:
        while len(_OWN) >= _MAX_TASKS:
            del _OWN[next(iter(_OWN))]
        state = data.state()
        _OWN[name, data] = state, own_task(name, data)
    return _OWN[name, data][1]
