"""Digests of a user's own data as a run read it: results on other data must not be mixed with its own."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

from lossearch.evaluators.data.splits import Split
from lossearch.evaluators.tasks.task import Task
from lossearch.primitives.errors import shown
from lossearch.runs.declaration import Declaration

#: Facts of the data of a task: the number of samples of each part, and a digest of all.
DataFacts = dict[str, int | str]

#: Facts of tasks that are in use. A task keeps the data that it has read, see ``registry.refresh_own_tasks``.
_DESCRIBED: WeakKeyDictionary[Task, DataFacts] = WeakKeyDictionary()


def digest_data(declared: Declaration) -> dict[str, DataFacts]:
    """Describe the user's own data by task, as it is read now. Raises UserError if it cannot be read."""
    return {name: dict(_describe_once(declared.task_named(name))) for name in declared.data}


def read_digests(declared: Mapping[str, Any]) -> dict[str, DataFacts]:
    """Read what a run recorded of its data in its declaration. A run of an older version has recorded nothing."""
    provenance = declared.get("provenance", {})
    data = provenance.get("data", {}) if isinstance(provenance, dict) else {}
    return {name: facts for name, facts in data.items() if _is_facts(facts)} if isinstance(data, dict) else {}


def describe_difference(recorded: Mapping[str, DataFacts], now: Mapping[str, DataFacts]) -> str | None:
    """Describe how data differs from what a run has recorded; None if it does not, or if nothing was recorded."""
    differences = [
        f"the data of {name} was {_show(recorded[name])} and is {_show(facts)}"
        for name, facts in now.items()
        if name in recorded and recorded[name]["digest"] != facts["digest"]
    ]
    return "; ".join(differences) or None


def _describe_once(task: Task) -> DataFacts:
    """Describe a task's data, or return what was found when it was described before: hashing takes long."""
    if task not in _DESCRIBED:
        _DESCRIBED[task] = _describe(task)
    return _DESCRIBED[task]


def _describe(task: Task) -> DataFacts:
    splits = task.load()
    parts = {"train": splits.train, "validation": splits.validation, "test": task.load_test()}
    whole = blake2b(digest_size=16)
    for part, split in parts.items():
        whole.update(f"{part} {list(split.inputs.shape)} {split.inputs.dtype} {list(split.targets.shape)}".encode())
        _update(whole, split)
    return {part: len(split) for part, split in parts.items()} | {"digest": whole.hexdigest()}


def _update(whole: blake2b, split: Split) -> None:
    for tensor in (split.inputs, split.targets):
        for rows in tensor.split(4_096):  # a part may be larger than the memory
            whole.update(rows.contiguous().numpy().tobytes())


def _show(facts: DataFacts) -> str:
    counts = [count for count in facts.values() if isinstance(count, int)]
    return f"{sum(counts)} samples ({'/'.join(map(str, counts))}) with digest {shown(str(facts['digest']), 12)}"


def _is_facts(facts: Any) -> bool:
    return isinstance(facts, dict) and isinstance(facts.get("digest"), str)
