"""Choice: which rows of a leaderboard are wanted and in which order, as a person writes it."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, get_args

from lossearch.primitives.errors import UserError, nearest, shown
from lossearch.results.ranking.row import Row

#: How a column is compared with a value: as numbers, or as text where the column holds text.
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "!=": lambda a, b: a != b,
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "~": lambda a, b: str(b).lower() in str(a).lower(),
}

_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|==?|<|>|~)\s*(.*?)\s*", re.DOTALL)

#: The columns, and what each holds.
_COLUMNS = {each.name: {*get_args(each.type), each.type} for each in fields(Row)}


def condition(text: str) -> Callable[[Row], bool]:
    """What ``complexity<10``, ``birth=crossover`` or ``formula~cosine`` says of a row; ``~`` is "holds".

    A column without a value fulfils none. Raises UserError for what is no condition on a column.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise UserError(
            f"Expected a condition such as complexity<10, birth=crossover or formula~cosine, got {shown(text)!r}."
        )
    column, sign, value = _known(found[1]), found[2].replace("==", "="), _value(found[1], found[2], found[3])

    def holds(row: Row) -> bool:
        own = getattr(row, column)
        return own is not None and _COMPARED[sign](own, value)

    return holds


def ordered(rows: Iterable[Row], order: str) -> list[Row]:
    """The rows by a column, or from the greatest on for ``-column``; those without a value last."""
    column = _known(order.removeprefix("-"))
    there = [row for row in rows if getattr(row, column) is not None]
    lacking = [row for row in rows if getattr(row, column) is None]
    return sorted(there, key=lambda row: getattr(row, column), reverse=order.startswith("-")) + lacking


def on_task(rows: Sequence[Row], task: str) -> list[Row]:
    """The rows with the fitness that they have on one task of several, best first, ranked by it.

    Raises UserError for a task that the run was not on.
    """
    tasks = rows[0].task.split(" + ") if rows else []
    if task not in tasks:
        raise UserError(f"Expected a task of the run, got {shown(task)!r}{nearest(task, tasks)}.")
    if len(tasks) == 1:
        return list(rows)
    alone = [
        replace(
            row,
            task=task,
            fitness_mean=there[task],
            fitness_std=None,
            difference_to_cross_entropy=None,
            difference_low=None,
            difference_high=None,
            pareto=False,
        )
        for row in rows
        if task in (there := dict(map(_task_and_fitness, row.fitness_by_task)))
    ]
    alone.sort(key=lambda row: (-(row.fitness_mean or 0.0), row.complexity))
    return [replace(row, rank=place) for place, row in enumerate(alone, start=1)]


def _task_and_fitness(text: str) -> tuple[str, float]:
    task, _, fitness = text.rpartition(" ")
    return task, float(fitness)


def _known(column: str) -> str:
    if column not in _COLUMNS:
        raise UserError(f"Expected a column of the leaderboard, got {shown(column)!r}{nearest(column, _COLUMNS)}.")
    return column


def _value(column: str, sign: str, text: str) -> Any:
    """The value that a column is compared with: of the column's own kind."""
    holds = _COLUMNS[column]
    if sign == "~" or not holds & {bool, int, float}:
        return text
    if bool in holds:
        if text not in ("true", "false"):
            raise UserError(f"Expected true or false beside {column}, got {shown(text)!r}.")
        return text == "true"
    try:
        return float(text)
    except ValueError:
        raise UserError(f"Expected a number beside {column}, got {shown(text)!r}.") from None
