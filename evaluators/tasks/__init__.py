"""The tasks by name: each is data, its split, its corruption and a metric."""

from evaluators.tasks import digits, downloaded, procedural
from evaluators.tasks.task import Task
from primitives.errors import UserError
from primitives.nearest import nearest

#: Every task by name.
TASKS: dict[str, Task] = {task.name: task for task in (*digits.TASKS, *procedural.TASKS, *downloaded.TASKS)}


def known_task(name: str) -> Task:
    """The task of this name; UserError with the nearest known names where there is none."""
    if name not in TASKS:
        raise UserError(f"Unknown task {name!r}{nearest(name, TASKS)}")
    return TASKS[name]
