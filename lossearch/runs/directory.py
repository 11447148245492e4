"""A run's directory: the declaration as resolved, the records, the checkpoint and the log.

Invariant: whatever happens, what was recorded stays. JSON and TOML files are replaced whole or not at all, and nothing
in the directory is ever executed or unpickled.
"""

import fcntl
import json
import os
import platform
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import tomli_w

from lossearch.evaluators.versions import installed
from lossearch.primitives.errors import Argument, UserError
from lossearch.results.records import Evaluation, Measurement
from lossearch.results.storage.atomic import naming, remove, replace_text, write_whole_text
from lossearch.results.storage.run_files import no_run_at
from lossearch.results.storage.store import RecordStore
from lossearch.runs.declaration import Declaration
from lossearch.runs.experiment import EvolutionSettings, Experiment, validated

#: Packages whose versions a run records.
_VERSIONED = ("lossearch", "torch", "numpy", "sympy", "deap", "ray", "pyarrow", "scikit-learn")

#: Version of the checkpoint: of its layout, and of the fingerprints in it.
CHECKPOINT_VERSION = 3

#: The file of a run that sums up the work of its workers.
WORKERS_FILE = "workers.json"


#: The end of a message about a directory that does not suit.
_RUN_DIR = (Argument("run_dir"), ".")
_GIVE_ANOTHER = (" Give another ", *_RUN_DIR)


class RunDirectoryError(UserError):
    """Raised for a directory that cannot hold this run; the message names it and says what to do."""


Kind = TypeVar("Kind", bound=Declaration)
Record = TypeVar("Record", Evaluation, Measurement)


class Directory(Generic[Kind, Record]):
    """The directory of one run: its declaration, its records and its log. Use ``create`` or ``open`` to get one."""

    FILE: ClassVar[str]  #: the file of the declaration as resolved
    PARTS: ClassVar[str]  #: the folder of the records
    FOLDERS: ClassVar[tuple[str, ...]]
    FORCIBLE: ClassVar[tuple[str, ...]] = ()  #: keys that a resumed run may change with --force
    RECORD: type[Record]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store: RecordStore[Record] = RecordStore(path / self.PARTS, self.RECORD)
        self._lock = lock_directory(path)

    @classmethod
    def validated(cls, declared: dict[str, Any], source: str) -> Kind:
        """Validate a dictionary as a declaration. Raises ExperimentError."""
        raise NotImplementedError

    @classmethod
    def create(cls, declared: Kind, path: Path | None) -> Self:
        """Create a directory: ``runs/<name>-<time>`` unless a path is given.

        Raises RunDirectoryError if the path is taken or cannot be written.
        """
        started = datetime.now(UTC)
        path = path or _find_unused(Path("runs") / f"{declared.name}-{started:%Y%m%d-%H%M%S}")
        cls.require_free(path, declared)
        try:
            for name in cls.FOLDERS:
                (path / name).mkdir(parents=True, exist_ok=True)
            run = cls(path)
            with run._closed_on_error():
                run._write(declared, started)
        except OSError as error:
            raise RunDirectoryError(
                f"{path}: expected a directory that can be written, got: {error.strerror}.", *_GIVE_ANOTHER
            ) from None
        return run

    @classmethod
    def open(cls, path: Path, declared: Kind, force: bool = False) -> Self:
        """Open the directory of an earlier run of the same declaration; ``force`` accepts changes to it.

        Raises RunDirectoryError, even with ``force`` if the changes make new results incomparable with earlier ones.
        """
        changes = _describe_changes(cls.recorded(path).result_defining(), declared.result_defining())
        fixed = [change for key, change in changes.items() if not cls._may_change(key, declared)]
        if changes and (fixed or not force):
            advice: Sequence[str | Argument] = [] if fixed else [", take the change with ", Argument("force", "True")]
            raise RunDirectoryError(
                f"{path}: made by another experiment: {'; '.join(fixed or changes.values())}. "
                "Resume with the experiment that made it",
                *advice,
                ", or give another ",
                Argument("run_dir"),
                ".",
            )
        try:
            for name in cls.FOLDERS:
                (path / name).mkdir(exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(
                f"{path}: expected a directory that can be written, got: {error.strerror}."
            ) from None
        if not os.access(path / cls.PARTS, os.W_OK):
            raise RunDirectoryError(f"{path}: expected a directory that can be written, got one that cannot.")
        run = cls(path)
        if changes:
            with run._closed_on_error():
                run._change(declared, list(changes.values()))
        return run

    @classmethod
    def _may_change(cls, key: str, declared: Kind) -> bool:
        """Return True if a resumed run may change this key with --force."""
        return key in cls.FORCIBLE

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Close the directory if the block raises an error."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _change(self, declared: Kind, changes: list[str]) -> None:
        """Write the declaration that holds from now on, and keep the earlier one in a file beside it."""
        kept = _find_unused(self.path / f"{Path(self.FILE).stem}-before.toml")
        write_whole_text(kept, (self.path / self.FILE).read_text(encoding="utf-8"))
        self._write(declared, datetime.now(UTC))
        self.log("experiment changed", changes=changes, before=kept.name)

    def _write(self, declared: Kind, started: datetime) -> None:
        plain = _drop_none(declared.model_dump(mode="json"))
        write_whole_text(self.path / self.FILE, tomli_w.dumps({**plain, "provenance": _collect_provenance(started)}))

    def log(self, event: str, **facts: Any) -> None:
        """Add a line to ``log.jsonl``."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        path = self.path / "log.jsonl"
        with naming(path), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Release the lock, so that another process can write to the directory."""
        os.close(self._lock)

    @classmethod
    def recorded(cls, path: Path) -> Kind:
        """Read the declaration that made a run's directory. Raises RunDirectoryError."""
        file = path / cls.FILE
        try:
            declared = tomllib.loads(file.read_text(encoding="utf-8"))
            declared.pop("provenance", None)
            return cls.validated(declared, str(file))
        except FileNotFoundError:
            advice = (" Restore that file, or start a new run in another ", *_RUN_DIR)
            raise RunDirectoryError(f"{no_run_at(path, cls.FILE)}.", *(advice if path.is_dir() else ())) from None
        except (OSError, ValueError) as error:
            raise RunDirectoryError(f"{file}: expected the declaration that made the run, got: {error}") from None

    @classmethod
    def require_free(cls, path: Path, declared: Kind) -> None:
        """Raise RunDirectoryError unless a run of this declaration can start in the directory."""
        try:
            taken = path.exists() and (not path.is_dir() or not all(map(cls._is_remnant, path.iterdir())))
        except OSError as error:
            raise RunDirectoryError(f"{path}: expected a directory that can be read, got: {error.strerror}.") from None
        if taken:
            raise RunDirectoryError(*cls._describe_taken(path, declared))

    @classmethod
    def _is_remnant(cls, path: Path) -> bool:
        """Return True for an entry that a run leaves if it is killed before it has written its declaration."""
        is_unfinished = path.name == f".{cls.FILE}.writing"
        return is_unfinished or (path.name in cls.FOLDERS and path.is_dir() and not any(path.iterdir()))

    @classmethod
    def _describe_taken(cls, path: Path, declared: Kind) -> tuple[str | Argument, ...]:
        """Say why this run cannot start in a path that exists."""
        if not path.is_dir():
            return (f"{path}: expected a directory, got a file.", *_GIVE_ANOTHER)
        try:
            changes = _describe_changes(cls.recorded(path).result_defining(), declared.result_defining())
        except RunDirectoryError:
            return (f"{path}: expected a new or empty directory, got one with other files.", *_GIVE_ANOTHER)
        if changes:
            return (f"{path}: made by another experiment: {'; '.join(changes.values())}.", *_GIVE_ANOTHER)
        resume = Argument("resume", "True")
        return (f"{path}: holds a run of this experiment. Continue it with ", resume, ", or give another ", *_RUN_DIR)


class RunDirectory(Directory[Experiment, Evaluation]):
    """The directory of a search, which has a checkpoint as well."""

    FILE, PARTS, FOLDERS, RECORD = "experiment.toml", "evaluations", ("evaluations", "checkpoint"), Evaluation
    #: How losses vary and how many there are. Not how they are trained, and not the starting losses: they come first.
    FORCIBLE = ("name", *(f"evolution.{key}" for key in EvolutionSettings.model_fields if key != "seeds"))

    @classmethod
    def validated(cls, declared: dict[str, Any], source: str) -> Experiment:
        """Validate a dictionary as an experiment. Raises ExperimentError."""
        return validated(declared, source)

    @classmethod
    def _may_change(cls, key: str, declared: Experiment) -> bool:
        """Return True if --force may change this key. A steady search stays steady: its trainings in flight need it."""
        is_to_generational = key == "evolution.mode" and declared.evolution.mode == "generational"
        return super()._may_change(key, declared) and not is_to_generational

    def write_workers(self, summary: dict[str, Any]) -> None:
        """Replace the summary of the workers."""
        replace_text(self.path / WORKERS_FILE, json.dumps(summary))

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint by this state: plain JSON data with the key ``version``."""
        write_whole_text(self.path / "checkpoint" / "state.json", json.dumps(state))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Read the last checkpoint; None if there is none. Raises RunDirectoryError for a damaged one."""
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
        """Remove the checkpoint: the run then goes through its generations again, with the evaluations that it has."""
        remove(self.path / "checkpoint" / "state.json")


def lock_directory(path: Path) -> int:
    """Lock a directory. Return a file descriptor that holds the lock until it is closed. Raises RunDirectoryError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise RunDirectoryError(
            f"{path}: another process is writing to this run. Wait for it, or give another --run-dir."
        ) from None
    return descriptor


def _describe_changes(earlier: dict[str, Any], now: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Describe what was changed, by key."""
    changes: dict[str, str] = {}
    for key in {**earlier, **now}:
        before, after = earlier.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            changes |= _describe_changes(before, after, f"{prefix}{key}.")
        elif before != after:
            changes[f"{prefix}{key}"] = f"{prefix}{key} was {before!r}, is {after!r}"
    return changes


def _find_unused(path: Path) -> Path:
    """Return the path, with a number added if it exists."""
    number = 1
    candidate = path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _drop_none(declared: dict[str, Any]) -> dict[str, Any]:
    """Leave out keys without a value, because TOML has no null."""
    return {
        key: _drop_none(value) if isinstance(value, dict) else value
        for key, value in declared.items()
        if value is not None
    }


def _collect_provenance(started: datetime) -> dict[str, Any]:
    """Collect when a run started, and the versions of what it ran on."""
    facts: dict[str, Any] = {
        "started": started.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": installed(_VERSIONED),
    }
    commit = _read_git_commit()
    return facts | ({"git_commit": commit} if commit else {})


def _read_git_commit() -> str | None:
    """Return the git commit of the code; None if it does not lie in a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
