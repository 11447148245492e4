"""Conditions, orders and tasks by which a person chooses rows of a leaderboard."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, get_args

from lossearch.primitives.errors import UserError, nearest, shown
from lossearch.results.ranking.row import Row

#: Comparisons of a column with a value; a column of texts is compared as text.
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "!=": lambda a, b: a != b,
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "~": lambda a, b: str(b).lower() in str(a).lower(),
}

_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|==?|<|>|~)\s*(.*?)\s*", re.DOTALL)

#: Types of the values of each column.
_COLUMNS = {field.name: {*get_args(field.type), field.type} for field in fields(Row)}


def condition(text: str) -> Callable[[Row], bool]:
    """Return the test of a row for ``complexity<10``, ``birth=crossover`` or ``formula~cosine``.

    ``~`` means "contains". A row without a value in the column meets no condition. Raises UserError for a text that is
    no condition on a column.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UserError(
            f"Expected a condition such as complexity<10, birth=crossover or formula~cosine, got {shown(text)!r}."
        )
    column, sign, value = (
        _require_column(match[1]),
        match[2].replace("==", "="),
        _read_value(match[1], match[2], match[3]),
    )

    def holds(row: Row) -> bool:
        actual = getattr(row, column)
        return actual is not None and _COMPARISONS[sign](actual, value)

    return holds


def ordered(rows: Iterable[Row], order: str) -> list[Row]:
    """Sort rows by a column, in descending order for ``-column``; rows without a value come last."""
    column = _require_column(order.removeprefix("-"))
    filled = [row for row in rows if getattr(row, column) is not None]
    lacking = [row for row in rows if getattr(row, column) is None]
    return sorted(filled, key=lambda row: getattr(row, column), reverse=order.startswith("-")) + lacking


def on_task(rows: Sequence[Row], task: str) -> list[Row]:
    """Return the rows with their fitness on one task of several, ranked by it, best first.

    Raises UserError for a task that the run does not have.
    """
    tasks = rows[0].task.split(" + ") if rows else []
    if task not in tasks:
        raise UserError(f"Expected a task of the run, got {shown(task)!r}{nearest(task, tasks)}")
    if len(tasks) == 1:
        return list(rows)
    on_this_task = [
        replace(
            row,
            task=task,
            fitness_mean=fitness_by_task[task],
            fitness_std=None,
            difference_to_cross_entropy=None,
            difference_low=None,
            difference_high=None,
            pareto=False,
        )
        for row in rows
        if task in (fitness_by_task := dict(map(_task_and_fitness, row.fitness_by_task)))
    ]
    on_this_task.sort(key=lambda row: (-(row.fitness_mean or 0.0), row.complexity))
    return [replace(row, rank=place) for place, row in enumerate(on_this_task, start=1)]


def _task_and_fitness(text: str) -> tuple[str, float]:
    task, _, fitness = text.rpartition(" ")
    return task, float(fitness)


def _require_column(column: str) -> str:
    if column not in _COLUMNS:
        raise UserError(f"Expected a column of the leaderboard, got {shown(column)!r}{nearest(column, _COLUMNS)}")
    return column


def _read_value(column: str, sign: str, text: str) -> Any:
    """Read the value to compare a column with, in a type of the column."""
    types = _COLUMNS[column]
    if sign == "~" or not types & {bool, int, float}:
        return text
    if bool in types:
        if text not in ("true", "false"):
            raise UserError(f"Expected true or false beside {column}, got {shown(text)!r}.")
        return text == "true"
    try:
        return float(text)
    except ValueError:
        raise UserError(f"Expected a number beside {column}, got {shown(text)!r}.") from None
