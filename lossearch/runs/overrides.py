"""Overrides of a search, as Python's keyword arguments: keys of its file, those of its tables without the table's name.

``population=20`` means the same as ``evolution={"population": 20}``.
"""

import os
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel

from lossearch.evaluators.settings import TrainingSettings
from lossearch.primitives.arguments import plain_value
from lossearch.primitives.errors import Argument, UserError, WrongType, describe, nearest
from lossearch.runs.declaration import ExecutorSettings, as_keys
from lossearch.runs.experiment import EvolutionSettings, Experiment
from lossearch.runs.own_paths import name_own_data

#: The tables of a search whose keys can be given without the name of the table.
_TABLES: dict[str, type[BaseModel]] = {
    "evolution": EvolutionSettings,
    "fidelity": TrainingSettings,
    "executor": ExecutorSettings,
}


def override(
    declared: Mapping[str, Any], overrides: Mapping[str, Any], arguments: Collection[str] = ()
) -> dict[str, Any]:
    """Return the declaration of a search with ``overrides``; None replaces nothing.

    A table replaces the keys that it has and no others. Training settings apply to every task, even if the declaration
    has others for one task. ``task`` may be a path. Raises UserError for an unknown key, with the nearest known one
    or the nearest of the caller's ``arguments``.
    """
    task = overrides.get("task")
    plain = {key: plain_value(value) for key, value in overrides.items() if value is not None and key != "task"}
    given = _sort_into_tables(plain, arguments)
    merged = dict(declared)
    if task is not None:
        _set_tasks(merged, task)
    for key, value in given.items():
        if key in (*_TABLES, "fidelity_of", "data") and not isinstance(value, BaseModel):
            if not isinstance(value, Mapping):
                raise WrongType(Argument(key), f": expected a dictionary of its keys, got {describe(value)}.")
            merged[key] = as_keys(merged.get(key, {})) | dict(value)
        else:
            merged[key] = value
    training = given.get("fidelity")
    if isinstance(training, Mapping) and "fidelity_of" not in given and isinstance(merged.get("fidelity_of"), dict):
        merged["fidelity_of"] = {name: as_keys(keys) | dict(training) for name, keys in merged["fidelity_of"].items()}
    return merged


def _sort_into_tables(given: dict[str, Any], arguments: Collection[str]) -> dict[str, Any]:
    """Put keys of a table into it. Raises UserError for an unknown key."""
    tables: dict[str, Any] = {key: given[key] for key in given if key in Experiment.model_fields}
    for key, value in given.items():
        if key in Experiment.model_fields:
            continue
        table = _find_table(key, value, arguments)
        inside = tables.get(table, {})
        if not isinstance(inside, Mapping):
            raise WrongType(Argument(table), f": expected a dictionary of its keys, got {describe(inside)}.")
        if key in inside:
            raise UserError(Argument(key), f": expected it once, got it beside {table} as well.")
        tables[table] = {**inside, key: value}
    return tables


def _find_table(key: str, value: Any, arguments: Collection[str]) -> str:
    """Return the table that a key belongs to: ``seeds`` is a number of trainings, or the losses to start from."""
    tables = [name for name, section in _TABLES.items() if key in section.model_fields]
    if key == "seeds":
        return "fidelity" if isinstance(value, int | float) else "evolution"
    if not tables:
        names = [
            *Experiment.model_fields,
            *arguments,
            *(name for section in _TABLES.values() for name in section.model_fields),
        ]
        raise UserError(Argument(key), f": unknown key of a search{nearest(key, names)}")
    if len(tables) > 1:
        raise UserError(
            Argument(key), f": expected the table that is meant, {' or '.join(tables)}: {tables[0]}={{...}}."
        )
    return tables[0]


def _set_tasks(declared: dict[str, Any], given: Any) -> None:
    """Replace the tasks. Data and trainings of other tasks are left out."""
    is_single = isinstance(given, str | os.PathLike)
    if not is_single and (not isinstance(given, list | tuple) or not given):
        raise WrongType(
            "Expected ", Argument("task"), f" to be a name, a path or a list of them, got {describe(given)}."
        )
    data = declared.get("data", {}) if isinstance(declared.get("data", {}), dict) else {}
    names, own_data = name_own_data([given] if is_single else given, data)
    declared["task"] = names[0] if is_single else names
    declared["data"] = {name: of_task for name, of_task in (data | own_data).items() if name in names}
    if isinstance(declared.get("fidelity_of"), dict):
        declared["fidelity_of"] = {name: keys for name, keys in declared["fidelity_of"].items() if name in names}
