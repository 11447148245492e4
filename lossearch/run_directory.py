"""A run's directory: the experiment as resolved, the evaluations, the checkpoint, the log.

Invariant: whatever happens, what was recorded stays; JSON and TOML files are replaced whole or not at all, and
nothing in the directory is ever executed or unpickled.
"""

import fcntl
import json
import os
import platform
import subprocess
import tomllib
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tomli_w

from lossearch.experiment import Experiment, ExperimentError, validated
from primitives.errors import UserError
from results.atomic import remove, write_whole_text
from results.store import EvaluationStore

_VERSIONED = ("lossearch", "torch", "numpy", "sympy", "deap", "ray", "pyarrow", "scikit-learn")


#: Version of the checkpoint's layout.
CHECKPOINT_VERSION = 1


class RunDirectoryError(UserError):
    """A directory that cannot hold this run; the message names it and says what to do."""


class RunDirectory:
    """The directory of one run. Make it with :meth:`create` or :meth:`open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = EvaluationStore(path / "evaluations")
        self._lock = _locked(path)

    @classmethod
    def create(cls, experiment: Experiment, path: Path | None) -> "RunDirectory":
        """A new directory for the experiment, ``runs/<name>-<time>`` unless a path is given.

        Raises RunDirectoryError where the path is taken or cannot be written.
        """
        started = datetime.now(UTC)
        path = path or _unused(Path("runs") / f"{experiment.name}-{started:%Y%m%d-%H%M%S}")
        require_free(path, experiment)
        try:
            (path / "evaluations").mkdir(parents=True, exist_ok=True)
            (path / "checkpoint").mkdir(exist_ok=True)
            run = cls(path)
            declared = _without_none(experiment.model_dump(mode="json"))
            text = tomli_w.dumps({**declared, "provenance": _provenance(started)})
            write_whole_text(path / "experiment.toml", text)
        except OSError as error:
            raise RunDirectoryError(
                f"{path}: expected a directory that can be written, got: {error.strerror}. Give another --run-dir."
            ) from None
        return run

    @classmethod
    def open(cls, path: Path, experiment: Experiment) -> "RunDirectory":
        """The directory of an earlier run of the same experiment. Raises RunDirectoryError."""
        earlier = recorded_experiment(path)
        changes = _changes(earlier.result_defining(), experiment.result_defining())
        if changes:
            raise RunDirectoryError(
                f"{path}: made by another experiment: {'; '.join(changes)}. "
                "Resume with the experiment that made it, or give another --run-dir."
            )
        try:
            for name in ("evaluations", "checkpoint"):
                (path / name).mkdir(exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(
                f"{path}: expected a directory that can be written, got: {error.strerror}."
            ) from None
        if not os.access(path / "evaluations", os.W_OK):
            raise RunDirectoryError(f"{path}: expected a directory that can be written, got one that cannot.")
        return cls(path)

    def log(self, event: str, **facts: Any) -> None:
        """Add a line to ``log.jsonl``."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        with open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint by this state, plain JSON data with the key ``version``."""
        write_whole_text(self.path / "checkpoint" / "state.json", json.dumps(state))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, or None where there is none. Raises RunDirectoryError for a damaged one."""
        path = self.path / "checkpoint" / "state.json"
        if not path.exists():
            return None
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunDirectoryError(
                f"{path}: expected JSON, got: {error}. Remove the file: the run then starts again from its "
                "evaluations, which are kept."
            ) from None
        if not isinstance(state, dict) or state.get("version") != CHECKPOINT_VERSION:
            raise RunDirectoryError(
                f"{path}: expected a checkpoint of version {CHECKPOINT_VERSION}, got another. Resume with the "
                "lossearch that wrote it, or remove the file: the run then starts again from its evaluations."
            )
        return state

    def forget_checkpoint(self) -> None:
        """Remove the checkpoint: the run then goes through its generations again, from its evaluations."""
        remove(self.path / "checkpoint" / "state.json")

    def close(self) -> None:
        """Let another search have the directory."""
        os.close(self._lock)


def _locked(path: Path) -> int:
    """A descriptor that holds the directory's lock until it is closed. Raises RunDirectoryError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise RunDirectoryError(
            f"{path}: another search is writing to this run. Wait for it, or give another --run-dir."
        ) from None
    return descriptor


def recorded_experiment(path: Path) -> Experiment:
    """The experiment that made a run's directory. Raises RunDirectoryError."""
    file = path / "experiment.toml"
    try:
        declared = tomllib.loads(file.read_text(encoding="utf-8"))
        declared.pop("provenance", None)
        return validated(declared, str(file))
    except FileNotFoundError:
        raise RunDirectoryError(
            f"{path}: expected the directory of a run, with experiment.toml in it. Restore that file, or start a run "
            "without --resume in another --run-dir."
        ) from None
    except (OSError, ValueError, ExperimentError) as error:
        raise RunDirectoryError(f"{file}: expected the experiment of a run, got: {error}") from None


def require_free(path: Path, experiment: Experiment) -> None:
    """Raise RunDirectoryError unless a run of the experiment may be started in the directory."""
    try:
        taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
    except OSError as error:
        raise RunDirectoryError(f"{path}: expected a directory that can be read, got: {error.strerror}.") from None
    if taken:
        raise RunDirectoryError(_taken(path, experiment))


def _taken(path: Path, experiment: Experiment) -> str:
    """Why a directory that exists cannot become this run's."""
    if not path.is_dir():
        return f"{path}: expected a directory, got a file. Give another --run-dir."
    try:
        changes = _changes(recorded_experiment(path).result_defining(), experiment.result_defining())
    except RunDirectoryError:
        return f"{path}: expected a new or empty directory, got one with other files. Give another --run-dir."
    if changes:
        return f"{path}: made by another experiment: {'; '.join(changes)}. Give another --run-dir."
    return f"{path}: holds a run of this experiment. Continue it with --resume, or give another --run-dir."


def _changes(earlier: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    changes = []
    for key in {**earlier, **now}:
        before, after = earlier.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            changes += _changes(before, after, f"{prefix}{key}.")
        elif before != after:
            changes.append(f"{prefix}{key} was {before!r}, is {after!r}")
    return changes


def _unused(path: Path) -> Path:
    number = 1
    candidate = path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _without_none(declared: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: a key without a value is left out."""
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in declared.items() if v is not None}


def _provenance(started: datetime) -> dict[str, Any]:
    versions = {}
    for name in _VERSIONED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    facts: dict[str, Any] = {
        "started": started.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": versions,
    }
    commit = _git_commit()
    return facts | ({"git_commit": commit} if commit else {})


def _git_commit() -> str | None:
    """The commit of the checkout that holds the code, where it is one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
