"""Status: how a run stands, read from its directory by another process, whatever state it is in."""

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import BASELINE
from lossearch.results.storage.run_files import logged_events
from lossearch.runs.directory import WORKERS_FILE, RunDirectory

RunState = Literal["running", "finished", "interrupted", "stopped"]

#: Events of the log that say how a run stands.
_TOLD = ("started", "resumed", "generation", "ended", "interrupted")

#: Seconds before the last evaluation over which the speed is taken.
RECENT = 300.0

#: Seconds over which it can be taken at least: the trainings of a cohort end at once.
SHORTEST = 10.0


@dataclass(frozen=True)
class WorkerStatus:
    """What one worker has done."""

    trainings: int
    per_minute: float
    seconds: dict[str, float]  #: by what it did


@dataclass(frozen=True)
class Status:
    """How a search stands."""

    run: str
    state: RunState  #: stopped is a run that nobody writes to and that did not say why
    name: str
    tasks: list[str]
    generation: int
    generations: int
    candidates: dict[str, int]  #: distinct losses by what became of them
    trainings: int
    trainings_per_minute: float | None  #: lately
    best_formula: str | None
    best_fitness: float | None
    cross_entropy: float | None
    last_evaluation: str | None  #: UTC
    seconds: dict[str, float] = field(default_factory=dict)  #: of the driver, by what it did since it started
    workers: dict[str, WorkerStatus] = field(default_factory=dict)  #: by name, since the driver started
    damages: int = 0  #: parts that cannot be read

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def status(path: Path) -> Status:
    """The status of a search in a directory. Raises RunDirectoryError or NotARun where there is none."""
    experiment, board = RunDirectory.recorded(path), Leaderboard(path)
    events = [each for each in logged_events(path / "log.jsonl") if each.get("event") in _TOLD]
    generations = [each for each in events if each.get("event") == "generation"]
    lately = _lately(path / WORKERS_FILE)
    best = board.rows[0] if board.ranked else None
    finished = board.finished_at()
    return Status(
        run=str(path),
        state=_state(path, events),
        name=experiment.name,
        tasks=list(experiment.tasks),
        generation=max((_whole(each.get("number")) for each in generations), default=0),
        generations=experiment.evolution.generations,
        candidates=board.counts(),
        trainings=len(finished),
        trainings_per_minute=speed(finished),
        best_formula=best.formula if best else None,
        best_fitness=best.fitness_mean if best else None,
        cross_entropy=next((row.fitness_mean for row in board.rows.named() if row.rank and row.name == BASELINE), None),
        last_evaluation=finished[-1] if finished else None,
        seconds=_numbers(lately.get("seconds")),
        workers=_workers(lately.get("workers")),
        damages=len(board.damages),
    )


def _lately(file: Path) -> dict[str, Any]:
    """What a run has written of its workers; nothing where it has not, or where the file is none of ours."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _numbers(value: Any) -> dict[str, float]:
    """What of a logged table is finite numbers."""
    table = value if isinstance(value, dict) else {}
    return {name: float(each) for name, each in table.items() if type(each) in (int, float) and abs(each) < 1e12}


def _workers(value: Any) -> dict[str, WorkerStatus]:
    """What of a logged table is what workers did."""
    table = value if isinstance(value, dict) else {}
    found = {}
    for name, each in table.items():
        if isinstance(each, dict):
            counts = _numbers({key: each.get(key) for key in ("trainings", "per_minute")})
            found[name] = WorkerStatus(
                int(counts.get("trainings", 0)), counts.get("per_minute", 0.0), _numbers(each.get("seconds"))
            )
    return found


def _state(path: Path, events: Iterable[dict[str, Any]]) -> RunState:
    """Whether a process holds the directory, else what the log says last of it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return "running"
    finally:
        os.close(descriptor)
    last = [each["event"] for each in events if each["event"] != "generation"]
    if last and last[-1] == "ended":
        return "finished"
    return "interrupted" if last and last[-1] == "interrupted" else "stopped"


def speed(finished: list[str]) -> float | None:
    """Trainings in a minute, over the last minutes in which there were some; None where these are too few seconds."""
    try:
        times = [datetime.fromisoformat(each).timestamp() for each in finished]
    except ValueError:
        return None
    recent = [each for each in times if each > times[-1] - RECENT] if times else []
    span = recent[-1] - recent[0] if len(recent) > 1 else 0.0
    return round(60.0 * (len(recent) - 1) / span, 1) if span >= SHORTEST else None


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 10**9 else 0
