"""Session: open the directory, data and executor of a run, and stop it in good order on Ctrl-C."""

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from lossearch.evaluators.executors.executor import Executor, InlineExecutor
from lossearch.evaluators.tasks.registry import refresh_own_tasks
from lossearch.primitives.arguments import require_path, require_text
from lossearch.primitives.errors import Argument, LossearchError, UserError, shown
from lossearch.runs.declaration import Declaration, ExecutorSettings
from lossearch.runs.directory import Directory, RunDirectoryError, require_writable

#: Error numbers that are a disk's fault, not ours.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})

#: Error numbers of a path that leads nowhere.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})

#: Signals that stop a run in good order.
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Kind = TypeVar("Kind", bound=Directory[Any, Any])


class RunInterrupted(LossearchError):
    """Raised when a run was stopped from outside; it can be resumed."""

    exit_code = 130

    def __init__(self, path: Path) -> None:
        super().__init__(f"Interrupted; the run is in {path}.")
        self.path = path

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.path,)  # an exception is otherwise made anew from its message


def required_path(
    kind: type[Kind], declared: Declaration, run_dir: str | Path | None, resume: bool, force: bool = False
) -> Path | None:
    """Return the path of the directory that was asked for.

    Raises UserError if a new run cannot start in it, or with ``resume`` if its run cannot go on.
    """
    if resume and run_dir is None:
        raise UserError("Expected ", Argument("run_dir"), ", the directory of the run to resume, got none.")
    if run_dir is None:
        require_writable(Path("runs"))
        return None
    path = require_path("run_dir", run_dir)
    if resume:
        kind.require_resumable(path, declared, force)
    else:
        kind.require_free(path, declared)
    return path


def require_data(declared: Declaration, tasks: tuple[str, ...], test: bool = False) -> None:
    """Load the data of every task, so that missing data is reported before anything is made. Raises UserError."""
    refresh_own_tasks()
    for name in tasks:
        task = declared.task_named(name)
        task.load()
        if test:
            task.load_test()


def require_workers(kind: Any, ray_address: Any) -> None:
    """Raise UserError for an executor or an address that no call takes, before anything is read."""
    if kind is not None:
        text = require_text("executor", kind, "ray or inline")
        if text not in ("ray", "inline"):
            raise UserError("Expected ", Argument("executor"), f" to be ray or inline, got {shown(text)!r}.")
    if ray_address is not None:
        require_text("ray_address", ray_address, "'auto' or the 'host:port' of a cluster")
        if kind == "inline":
            raise UserError(f"Expected no Ray address with the inline executor, got {shown(ray_address)!r}.")


def executor_for(settings: ExecutorSettings, kind: str | None = None, ray_address: str | None = None) -> Executor:
    """Create an executor: of the kind ``kind``, else at ``ray_address``, else the declared one. Raises UserError."""
    require_workers(kind, ray_address)
    kind = kind or ("ray" if ray_address else settings.kind)
    if kind == "inline":
        return InlineExecutor(settings.device)
    from lossearch.evaluators.executors.cluster_address import job_address, require_answer

    ray_address = ray_address or job_address()
    if ray_address is not None:
        require_answer(ray_address)
    from lossearch.evaluators.executors.ray_executor import RayExecutor

    return RayExecutor(ray_address, settings.workers, settings.deadline, settings.device)


@contextmanager
def running(
    kind: type[Kind],
    declared: Declaration,
    path: Path | None,
    resume: bool,
    interrupted: type[RunInterrupted],
    force: bool = False,
) -> Iterator[Kind]:
    """Open the directory of a run that starts or goes on, and close it at the end.

    Raises ``interrupted`` on Ctrl-C, SIGTERM or SIGHUP, and RunDirectoryError if the directory can no longer be
    written.
    """
    run = kind.open(path, declared, force) if resume and path else kind.create(declared, path)
    with watch_for_interruption() as interruption:  # Ray has set its own handlers by now
        try:
            yield run
        except BaseException as error:
            if interruption.explains(error):
                with suppress(OSError):  # the disk may be full; the run stops all the same
                    run.log("interrupted")
                raise interrupted(run.path) from None
            if isinstance(error, OSError) and error.errno in _ABSENT and not run.is_in_place():
                raise RunDirectoryError(
                    f"{run.path}: expected the directory of this run, got none: it was moved or removed while the run "
                    "went on, or the working directory changed. All records in "
                    "it are kept: continue in its new place with ",
                    Argument("resume", "True"),
                    ".",
                ) from None
            if isinstance(error, OSError) and error.errno in _UNWRITABLE and _is_within(run.path, error.filename):
                raise RunDirectoryError(
                    f"{run.path}: expected a directory that can be written, got: {error.strerror}. All earlier records "
                    "are kept: solve this, and continue with ",
                    Argument("resume", "True"),
                    ".",
                ) from None
            raise
        finally:
            run.close()


@dataclass
class Interruption:
    """Records whether SIGINT (Ctrl-C), SIGTERM (a scheduler) or SIGHUP (a terminal that closes) arrived."""

    has_arrived: bool = False

    def explains(self, error: BaseException) -> bool:
        """Return True if the error came from an interruption.

        A library may turn a KeyboardInterrupt into its own error: one that arrives while an extension module is
        imported becomes an ImportError.
        """
        return self.has_arrived or isinstance(error, KeyboardInterrupt)


@contextmanager
def watch_for_interruption() -> Iterator[Interruption]:
    """Note the signals that stop a run, and raise KeyboardInterrupt. They arrive in the main thread only.

    A signal that is ignored stays so: nohup ignores SIGHUP.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame: FrameType | None) -> None:
        interruption.has_arrived = True
        raise KeyboardInterrupt

    numbers = [number for number in _STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_within(directory: Path, filename: Any) -> bool:
    """Return True if the file of an error is the directory itself or lies in it."""
    return isinstance(filename, str) and Path(filename).absolute().is_relative_to(directory.absolute())
