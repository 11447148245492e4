"""Status: the state of a run, read from its directory by another process, during the run or after it."""

import fcntl
import json
import os
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from lossearch.primitives.errors import LossearchError
from lossearch.results.findings.tuned_forms import TunedForms
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import BASELINE
from lossearch.results.storage.atomic import is_unfinished
from lossearch.results.storage.logged_warnings import logged_warnings
from lossearch.results.storage.run_files import MAX_SUMMARY, ForeignFile, logged_events, read_run_file
from lossearch.runs.directory import BUSY, WORKERS_FILE, RunDirectory, RunDirectoryError

RunState = Literal["running", "finished", "interrupted", "stopped"]

#: Events of the log that say how far a run is.
_EVENTS = ("started", "resumed", "generation", "ended", "interrupted")

#: The speed is taken over this number of seconds before the last evaluation.
RECENT = 300.0

#: Fewest seconds to take the speed over: the trainings of a cohort end all at once.
SHORTEST = 10.0


@dataclass(frozen=True)
class WorkerStatus:
    """The work of one worker."""

    trainings: int
    per_minute: float
    seconds: dict[str, float]  #: by activity


@dataclass(frozen=True)
class Status:
    """The state of a search."""

    run: str
    state: RunState  #: stopped: no process writes to the run, and its log does not say why
    name: str
    tasks: list[str]
    generation: int
    generations: int
    candidates: dict[str, int]  #: numbers of candidates by what became of them
    trainings: int
    trainings_per_minute: float | None  #: over the last minutes
    best_formula: str | None
    best_fitness: float | None
    cross_entropy: float | None
    last_evaluation: str | None  #: UTC
    seconds: dict[str, float] = field(default_factory=dict)  #: of the driver by activity, since it started
    workers: dict[str, WorkerStatus] = field(default_factory=dict)  #: by name, since the driver started
    damages: int = 0  #: parts that cannot be read
    unfinished: list[str] = field(default_factory=list)  #: files that a killed process left incomplete
    best_tested: str | None = None  #: the loss to use, and its test under fresh seeds or its verdict, if it has one
    warnings: list[str] = field(default_factory=list)  #: that nothing trains, or of files left out

    def to_dict(self) -> dict[str, Any]:
        """Return the status as plain data."""
        return asdict(self)


def status(path: Path) -> Status:
    """Read the status of a search. Raises RunDirectoryError or NotARun if the directory holds none.

    The data that the search names is not looked at.
    """
    name, tasks, generations_declared = _read_outline(path)
    board = Leaderboard(path)
    events = list(logged_events(path / "log.jsonl", *_EVENTS))
    generations = [event for event in events if event.get("event") == "generation"]
    summary = _read_object(path / WORKERS_FILE)
    state = _find_state(path, events)
    best = board.rows[0] if board.ranked else None
    finished = board.finished_at()
    return Status(
        run=str(path),
        state=state,
        name=name,
        tasks=tasks,
        generation=max((_keep_whole_number(event.get("number")) for event in generations), default=0),
        generations=generations_declared,
        candidates=board.candidate_counts().named(),
        trainings=len(finished),
        trainings_per_minute=speed(finished),
        best_formula=best.formula if best else None,
        best_fitness=best.fitness_mean if best else None,
        cross_entropy=next((row.fitness_mean for row in board.rows.named() if row.rank and row.name == BASELINE), None),
        last_evaluation=finished[-1] if finished else None,
        seconds=_keep_numbers(summary.get("seconds")),
        workers=_keep_workers(summary.get("workers")),
        damages=len(board.damages),
        unfinished=[] if state == "running" else _list_unfinished(path),
        best_tested=_describe_tested(board),
        warnings=[*logged_warnings(path / "log.jsonl"), *TunedForms(path).problems()],
    )


def _list_unfinished(path: Path) -> list[str]:
    """List the files of a run that a process began to write before it was killed. Nothing reads them."""
    found: list[str] = []
    for folder in ("", *RunDirectory.FOLDERS):
        if not (path / folder).is_symlink() or not folder:
            with suppress(OSError):
                found += [os.path.join(folder, name) for name in os.listdir(path / folder) if is_unfinished(name)]
    return sorted(found)


def _read_outline(path: Path) -> tuple[str, list[str], int]:
    """Return name, tasks and number of generations of a search. Raises RunDirectoryError."""
    declared = RunDirectory.declared_keys(path)
    name, task, evolution = (declared.get(key) for key in ("name", "task", "evolution"))
    tasks = task if isinstance(task, list) else [task]
    generations = _keep_whole_number(evolution.get("generations")) if isinstance(evolution, dict) else 0
    if not isinstance(name, str) or not all(isinstance(task, str) for task in tasks) or not generations:
        RunDirectory.recorded(path)  # says what is wrong
        raise RunDirectoryError(f"{path}: expected a search with a name, a task and generations, got another file.")
    return name, list(map(str, tasks)), generations


def _describe_tested(board: Leaderboard) -> str | None:
    """Describe the loss to use and how it did where nothing chose it; None if no loss was tested so."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the status itself names files that are left out
            best = board.best() if board.ranked else None
    except (LossearchError, OSError):  # the files of tuning or of verdicts cannot be read
        best = board[0]
    tested = None if best is None else best.tested()
    return None if best is None or tested is None else f"{best.formula}: {tested}"


def _read_object(file: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one if there is no such file, or if it holds something else."""
    try:
        content = json.loads(read_run_file(file, MAX_SUMMARY))
    except ForeignFile:
        raise
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _keep_numbers(value: Any) -> dict[str, float]:
    """Keep the finite numbers of a table that may hold anything."""
    table = value if isinstance(value, dict) else {}
    return {name: float(entry) for name, entry in table.items() if type(entry) in (int, float) and abs(entry) < 1e12}


def _keep_workers(value: Any) -> dict[str, WorkerStatus]:
    """Keep the workers of a table that may hold anything."""
    table = value if isinstance(value, dict) else {}
    workers = {}
    for name, entry in table.items():
        if isinstance(entry, dict):
            counts = _keep_numbers({key: entry.get(key) for key in ("trainings", "per_minute")})
            workers[name] = WorkerStatus(
                int(counts.get("trainings", 0)), counts.get("per_minute", 0.0), _keep_numbers(entry.get("seconds"))
            )
    return workers


def _find_state(path: Path, events: Iterable[dict[str, Any]]) -> RunState:
    """Return running if a process holds the directory, else the state that the log says last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            return "running"
    finally:
        os.close(descriptor)
    last = [event["event"] for event in events if event["event"] != "generation"]
    if last and last[-1] == "ended":
        return "finished"
    return "interrupted" if last and last[-1] == "interrupted" else "stopped"


def speed(finished: list[str]) -> float | None:
    """Compute trainings per minute over the last minutes that had some; None if they span too few seconds.

    ``finished`` are ISO times in ascending order.
    """
    try:
        times = [datetime.fromisoformat(time).timestamp() for time in finished]
    except ValueError:
        return None
    recent = [time for time in times if time > times[-1] - RECENT] if times else []
    span = recent[-1] - recent[0] if len(recent) > 1 else 0.0
    return round(60.0 * (len(recent) - 1) / span, 1) if span >= SHORTEST else None


def _keep_whole_number(value: Any) -> int:
    """Return a plausible count, or 0 for anything else."""
    return value if type(value) is int and 0 <= value < 10**9 else 0
