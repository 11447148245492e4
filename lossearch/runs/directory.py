"""A run's directory: the declaration as resolved, the records, the checkpoint and the log.

Invariant: whatever happens, what was recorded stays. JSON and TOML files are replaced whole or not at all, and nothing
in the directory is ever executed or unpickled.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import tomli_w

from lossearch.evaluators.tasks.own_data import KINDS
from lossearch.evaluators.tasks.registry import refresh_own_tasks
from lossearch.primitives.errors import Argument, UserError, shown
from lossearch.results.records import Evaluation, Measurement
from lossearch.results.storage.atomic import append_text, is_unfinished, remove, replace_text, write_whole_text
from lossearch.results.storage.run_files import (
    MAX_DECLARATION,
    MAX_STATE,
    ForeignFile,
    make_folder,
    read_run_file,
    refuse_linked_folders,
    shown_path,
)
from lossearch.results.storage.run_kinds import describe_directory, no_run_at
from lossearch.results.storage.store import RecordStore
from lossearch.runs.data_digest import describe_difference, digest_data, read_digests
from lossearch.runs.declaration import Declaration
from lossearch.runs.experiment import EvolutionSettings, Experiment, validated
from lossearch.runs.provenance import collect_provenance
from lossearch.runs.toml_text import parse_toml

#: Error numbers of a lock that another process holds.
BUSY = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})

#: Version of the checkpoint: of its layout, and of the fingerprints in it.
CHECKPOINT_VERSION = 3

#: The file of a run that sums up the work of its workers.
WORKERS_FILE = "workers.json"

#: Most characters of what is wrong with a declaration.
_LONGEST_REASON = 2_000

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
    def validated(cls, declared: dict[str, Any], source: str, with_data: bool = True) -> Kind:
        """Validate a dictionary as a declaration. Raises ExperimentError. Without ``with_data`` no data is read."""
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
                make_folder(path / name)
            run = cls(path)
            with run._closed_on_error():
                run._write(declared, started)
        except OSError as error:
            raise RunDirectoryError(
                f"{path}: expected a directory that can be written, got: {error.strerror}.", *_or_other(path, " Give")
            ) from None
        return run

    @classmethod
    def open(cls, path: Path, declared: Kind, force: bool = False) -> Self:
        """Open the directory of an earlier run of the same declaration; ``force`` accepts changes to it.

        Raises RunDirectoryError, even with ``force`` if the changes make new results incomparable with earlier ones.
        """
        changes = cls.require_resumable(path, declared, force)
        try:
            for name in cls.FOLDERS:
                make_folder(path / name)
        except OSError as error:
            raise RunDirectoryError(
                f"{path}: expected a directory that can be written, got: {error.strerror}."
            ) from None
        run = cls(path)
        if changes:
            with run._closed_on_error():
                run._change(declared, list(changes.values()))
        return run

    @classmethod
    def require_resumable(cls, path: Path, declared: Kind, force: bool = False) -> dict[str, str]:
        """Describe what was changed since the directory's run was declared, by key. Nothing is written.

        Raises RunDirectoryError as ``open`` does, also while another process writes there.
        """
        changes = _describe_changes(cls.recorded(path).result_defining(), declared.result_defining())
        moved = cls._require_same_data(path, declared, "Resume with the data that made it")
        fixed = [change for key, change in changes.items() if not cls._may_change(key, declared) and key not in moved]
        if changes.keys() - moved and (fixed or not force):
            advice: Sequence[str | Argument] = [] if fixed else [", take the change with ", Argument("force", "True")]
            raise RunDirectoryError(
                f"{path}: made by another experiment: {'; '.join(fixed or changes.values())}. "
                "Resume with the experiment that made it",
                *advice,
                *(_or_other(path) or ["."]),
            )
        parts = path / cls.PARTS
        if not os.access(parts if parts.exists() else path, os.W_OK):
            raise RunDirectoryError(f"{path}: expected a directory that can be written, got one that cannot.")
        os.close(lock_directory(path))
        return changes

    @classmethod
    def require_data(cls, path: Path) -> None:
        """Raise RunDirectoryError unless a run's own data is there, and is what the run read."""
        declared, file = cls.recorded(path), path / cls.FILE
        if not declared.data:
            return
        try:
            cls._require_same_data(path, declared, "Restore the data")
        except RunDirectoryError:
            raise
        except UserError as error:
            raise RunDirectoryError(
                f"{error} If the data of the run {path} has moved, write its path into [data.TASK] of {file}."
            ) from None

    @classmethod
    def _require_same_data(cls, path: Path, declared: Kind, advice: str) -> set[str]:
        """Return the keys of data that a run may find at another path, since it recorded its contents.

        Raises RunDirectoryError if the contents are others.
        """
        refresh_own_tasks()
        recorded, now = read_digests(cls.declared_keys(path)), digest_data(declared)
        difference = describe_difference(recorded, now)
        if difference is not None:
            raise RunDirectoryError(f"{path}: {difference}. {advice}, or start another run on the new data.")
        return {f"data.{task}.{kind}" for task in now if task in recorded for kind in KINDS}

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
        write_whole_text(kept, read_run_file(self.path / self.FILE, MAX_DECLARATION).decode())
        self._write(declared, datetime.now(UTC))
        self.log("experiment changed", changes=changes, before=kept.name)

    def _write(self, declared: Kind, started: datetime) -> None:
        plain = _drop_none(declared.model_dump(mode="json"))
        provenance = collect_provenance(started) | ({"data": digest_data(declared)} if declared.data else {})
        write_whole_text(self.path / self.FILE, tomli_w.dumps({**plain, "provenance": provenance}))

    def log(self, event: str, **facts: Any) -> None:
        """Add a line to ``log.jsonl``."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        append_text(self.path / "log.jsonl", json.dumps(line) + "\n")

    def is_in_place(self) -> bool:
        """Return True if the path still leads to the directory that was opened."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._lock))
        except OSError:
            return False

    def close(self) -> None:
        """Release the lock, so that another process can write to the directory."""
        os.close(self._lock)

    @classmethod
    def recorded(cls, path: Path) -> Kind:
        """Read the declaration that made a run's directory, but not its data. Raises RunDirectoryError."""
        declared = cls.declared_keys(path)
        declared.pop("provenance", None)
        try:
            return cls.validated(declared, shown_path(path / cls.FILE), with_data=False)
        except (OSError, ValueError, RecursionError) as error:
            raise _not_declared(path / cls.FILE, error) from None

    @classmethod
    def declared_keys(cls, path: Path) -> dict[str, Any]:
        """Read the keys of the declaration that made a run's directory, as they are. Raises RunDirectoryError."""
        try:
            return _read_keys(path / cls.FILE)
        except (FileNotFoundError, NotADirectoryError):
            is_unknown = path.is_dir() and describe_directory(path, cls.FILE) is None
            advice = (" Restore that file, or start a new run in another ", *_RUN_DIR)
            problem = no_run_at(path, cls.FILE)
            end = "" if problem.endswith("?") else "."
            raise RunDirectoryError(f"{problem}{end}", *(advice if is_unknown else ())) from None
        except (OSError, ValueError, RecursionError) as error:
            raise _not_declared(path / cls.FILE, error) from None

    @classmethod
    def require_free(cls, path: Path, declared: Kind) -> None:
        """Raise RunDirectoryError unless a run of this declaration can start in the directory."""
        _require_utf8(path)
        try:
            taken = path.exists() and (not path.is_dir() or not all(map(cls._is_remnant, path.iterdir())))
        except OSError as error:
            raise RunDirectoryError(f"{path}: expected a directory that can be read, got: {error.strerror}.") from None
        if taken:
            raise RunDirectoryError(*cls._describe_taken(path, declared))
        require_writable(path)

    @classmethod
    def _is_remnant(cls, path: Path) -> bool:
        """Return True for an entry that a run leaves if it is killed before it has written its declaration."""
        if path.is_symlink():
            return False
        is_folder = path.name in cls.FOLDERS and path.is_dir()
        return is_unfinished(path.name, cls.FILE) or (is_folder and not any(path.iterdir()))

    @classmethod
    def _describe_taken(cls, path: Path, declared: Kind) -> tuple[str | Argument, ...]:
        """Say why this run cannot start in a path that exists."""
        if not path.is_dir():
            return (f"{path}: expected a directory, got a file.", *_GIVE_ANOTHER)
        try:
            changes = _describe_changes(cls.recorded(path).result_defining(), declared.result_defining())
        except RunDirectoryError:
            kind_of_run = describe_directory(path, cls.FILE) or "one with other files"
            return (f"{path}: expected a new or empty directory, got {kind_of_run}.", *_GIVE_ANOTHER)
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
    def validated(cls, declared: dict[str, Any], source: str, with_data: bool = True) -> Experiment:
        """Validate a dictionary as an experiment. Raises ExperimentError."""
        return validated(declared, source, with_data)

    @classmethod
    def _may_change(cls, key: str, declared: Experiment) -> bool:
        """Return True if --force may change this key. A steady search stays steady: its trainings in flight need it."""
        is_to_generational = key == "evolution.mode" and declared.evolution.mode == "generational"
        return super()._may_change(key, declared) and not is_to_generational

    @classmethod
    def require_resumable(cls, path: Path, declared: Experiment, force: bool = False) -> dict[str, str]:
        """Describe what was changed since the run was declared. Raises RunDirectoryError, also for its checkpoint."""
        changes = super().require_resumable(path, declared, force)
        _read_checkpoint(path)
        return changes

    def write_workers(self, summary: dict[str, Any]) -> None:
        """Replace the summary of the workers."""
        replace_text(self.path / WORKERS_FILE, json.dumps(summary))

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint by this state: plain JSON data with the key ``version``."""
        write_whole_text(self.path / "checkpoint" / "state.json", json.dumps(state))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Read the last checkpoint; None if there is none. Raises RunDirectoryError for a damaged one."""
        return _read_checkpoint(self.path)

    def forget_checkpoint(self) -> None:
        """Remove the checkpoint: the run then goes through its generations again, with the evaluations that it has."""
        remove(self.path / "checkpoint" / "state.json")


def _read_checkpoint(run: Path) -> dict[str, Any] | None:
    """Read the checkpoint of a run; None if there is none. Raises RunDirectoryError."""
    path = run / "checkpoint" / "state.json"
    if not path.exists():
        return None
    try:
        state = json.loads(read_run_file(path, MAX_STATE))
    except ForeignFile:
        raise
    except (ValueError, RecursionError) as error:
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


def named_data(declaration: Path) -> dict[str, str]:
    """Return the user's own data that the declaration of a run names, by task. None of it is looked at.

    Raises RunDirectoryError for a file that is no declaration, and FileNotFoundError.
    """
    try:
        data = _read_keys(declaration).get("data", {})
    except (ValueError, RecursionError) as error:
        raise _not_declared(declaration, error) from None
    tables = data.items() if isinstance(data, dict) else ()
    return {
        task: str(table.get("folder", table.get("arrays")))
        for task, table in tables
        if isinstance(table, dict) and {"folder", "arrays"} & table.keys()
    }


def _read_keys(declaration: Path) -> dict[str, Any]:
    source = shown_path(declaration)
    if declaration.exists() and not declaration.is_symlink() and not declaration.is_file():
        raise ValueError(f"expected a TOML file, got {'a folder' if declaration.is_dir() else 'no file'}")
    try:
        return parse_toml(read_run_file(declaration, MAX_DECLARATION).decode("utf-8-sig"), source)
    except UnicodeDecodeError as error:
        raise ValueError(f"expected text, got bytes that are not UTF-8, from byte {error.start} on") from None
    except UserError as error:
        raise ValueError(str(error).removeprefix(f"{source}: ")) from None


def _not_declared(declaration: Path, error: Exception) -> RunDirectoryError:
    reason = " ".join(str(error).split()).removeprefix(f"{shown_path(declaration)}: ")[:_LONGEST_REASON]
    return RunDirectoryError(f"{shown_path(declaration)}: expected the declaration that made the run: {reason}")


def lock_directory(path: Path) -> int:
    """Lock a directory. Return a file descriptor that holds the lock until it is closed. Raises RunDirectoryError."""
    refuse_linked_folders(path / "file")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in BUSY:
            raise RunDirectoryError(
                f"{path}: another process is writing to this run. Wait for it", *(_or_other(path) or ["."])
            ) from None
        raise RunDirectoryError(  # such as ENOLCK of a network's disk
            f"{path}: expected a directory that can be locked, got: {error.strerror}. Use a disk that has locks."
        ) from None
    return descriptor


def require_writable(path: Path) -> None:
    """Raise RunDirectoryError where a directory cannot be made or written, before anything is started for it."""
    place = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    number = errno.ENOTDIR if not place.is_dir() else None if os.access(place, os.W_OK | os.X_OK) else errno.EACCES
    if number is not None:
        raise RunDirectoryError(
            f"{path}: expected a directory that can be written, got: {os.strerror(number)}.", *_or_other(path, " Give")
        )


def _or_other(path: Path, verb: str = ", or give") -> tuple[str | Argument, ...]:
    """Advise another directory, unless this one belongs to a run: a study of a run has its place there."""
    in_run = any((parent / RunDirectory.FILE).exists() for parent in list(path.absolute().parents)[:3])
    return () if in_run else (f"{verb} another ", *_RUN_DIR)


def _require_utf8(path: Path) -> None:
    """Raise RunDirectoryError for a path that files of records cannot have."""
    try:
        os.path.abspath(path).encode()
    except UnicodeEncodeError:
        raise RunDirectoryError(
            f"{shown(str(path), 300)}: expected a directory whose whole path is UTF-8, got another encoding. "
            "Rename it, or give another ",
            *_RUN_DIR,
        ) from None


def _describe_changes(earlier: dict[str, Any], now: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Describe what was changed, by key."""
    changes: dict[str, str] = {}
    for key in {**earlier, **now}:
        before, after = earlier.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            changes |= _describe_changes(before, after, f"{prefix}{key}.")
        elif before != after:
            was, now_is = _shown_value(before), _shown_value(after)
            if was == now_is:  # they differ in the last digits
                was, now_is = repr(before), repr(after)
            changes[f"{prefix}{key}"] = f"{prefix}{key} was {was}, is {now_is}"
    return changes


def _shown_value(value: Any) -> str:
    """Return a value of a declaration for a message, without the last digits of a number that was computed."""
    return f"{value:.10g}" if isinstance(value, float) else repr(value)


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
