"""Settings of a search, in words, from the declaration in its directory, which may be a stranger's."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lossearch.results.storage.run_files import MAX_DECLARATION, ForeignFile, read_run_file

#: Most characters of one setting, and most entries of a list.
_LONGEST, _MOST = 200, 60

#: Labels of the settings that say what formulas a search may write: long lists, which come last.
LANGUAGE = ("starting losses", "terminals", "operators")

#: Schedules of the learning rate in words.
_SCHEDULES = {
    "cosine": "falling along a cosine",
    "step": "lowered at milestones",
    "plateau": "lowered at each plateau",
    "constant": "constant",
}


def read_settings(path: Path, events: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the settings of a run with their labels; none where its declaration cannot be read.

    ``events`` are those of its log. A setting that is missing, or has another form, is left out.
    """
    try:
        declared = tomllib.loads(read_run_file(path / "experiment.toml", MAX_DECLARATION).decode("utf-8-sig"))
    except (OSError, ForeignFile, ValueError, RecursionError):
        return []
    return [(name, text) for name, text in _settings(declared, events) if text]


def _settings(declared: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    fidelity, evolution, executor = (_table(declared, name) for name in ("fidelity", "evolution", "executor"))
    provenance, others = _table(declared, "provenance"), _table(declared, "fidelity_of")
    versions, tasks = _table(provenance, "versions"), declared.get("task")
    yield "task", _text(tasks)
    for task in tasks if isinstance(tasks, list) else [tasks]:
        training = others.get(task) if isinstance(task, str) else None
        of_task = f" on {_text(task)}" if len(others) > 1 else ""
        yield from _training(training if isinstance(training, dict) else fidelity, of_task)
        if not of_task:
            break
    yield "trainings of each loss", _join(_text(fidelity.get("seeds")), "seeds")
    yield "stops at", _join(_text(fidelity.get("rungs")), "steps, if not among the best")
    yield (
        "population",
        _listed(
            _join(_text(evolution.get("population")), "losses"),
            _join(_text(evolution.get("generations")), "generations"),
            _text(evolution.get("mode")),
            _join(_text(evolution.get("islands")), "islands") if evolution.get("islands") != 1 else "",
        ),
    )
    yield "seed of the search", _text(declared.get("seed"))
    yield "ran", _ran(provenance, executor, events)
    yield (
        "versions",
        _listed(
            *(_join(name, _text(versions.get(name))) for name in ("lossearch", "torch")),
            _join("Python", _text(provenance.get("python"))),
        ),
    )
    yield "commit", _text(provenance.get("git_commit"))[:12]
    yield LANGUAGE[0], _text(evolution.get("seeds"))
    size = _join("at most", _text(evolution.get("max_nodes")), "nodes")
    yield LANGUAGE[1], _listed(_text(evolution.get("terminals")), size)
    yield LANGUAGE[2], _text(evolution.get("operators"))


def _training(fidelity: Mapping[str, Any], of_task: str) -> Iterator[tuple[str, str]]:
    yield (
        f"network{of_task}",
        _listed(_text(fidelity.get("network")), _join("embeddings of", _text(fidelity.get("hidden")))),
    )
    optimizer = {"sgd": "SGD", "adam": "Adam"}.get(_text(fidelity.get("optimizer")), "")
    yield (
        f"training{of_task}",
        _listed(
            _join(_text(fidelity.get("steps")), "steps of", _text(fidelity.get("batch_size")), "samples"),
            _join(optimizer, "with momentum", _text(fidelity.get("momentum"))),
            _join("learning rate", _text(fidelity.get("learning_rate"))),
            _SCHEDULES.get(_text(fidelity.get("schedule")), ""),
        ),
    )


def _ran(provenance: Mapping[str, Any], executor: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """Say when a search started, how long it took if it was never interrupted, and on what."""
    started = [event for event in events if event.get("event") in ("started", "resumed")]
    ended = [event for event in events if event.get("event") == "ended"]
    took = _minutes(started[0], ended[-1]) if len(started) == 1 and ended else ""
    slots = started[-1].get("slots") if started else None
    workers = _join(_text(slots), "worker" if slots == 1 else "workers")
    device = _text(executor.get("device"))
    return _listed(
        _text(provenance.get("started"))[:16].replace("T", " "),
        _join("for", took),
        _join("on", workers),
        _join("device", device),
    )


def _minutes(first: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    try:
        seconds = (datetime.fromisoformat(last["time"]) - datetime.fromisoformat(first["time"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return ""
    if not 0.0 <= seconds < 1e9:
        return ""
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _table(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = values.get(name)
    return table if isinstance(table, dict) else {}


def _text(value: Any) -> str:
    """Return a value, or the values of a list, as text of a bounded length. Nothing else is shown."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_text, value[:_MOST])))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _join(*words: str) -> str:
    """Return the words in one phrase; nothing if one of them is missing."""
    return " ".join(words) if all(words) else ""


def _listed(*phrases: str) -> str:
    return ", ".join(filter(None, phrases))
