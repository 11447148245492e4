"""Running: the directory of a run is opened, held while it runs, told of an interruption, and let go."""

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
from lossearch.primitives.errors import LossearchError, UserError
from lossearch.runs.declaration import Declaration, ExecutorSettings
from lossearch.runs.directory import Directory, RunDirectoryError

#: What is wrong with a disk, and not with us.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


class RunInterrupted(LossearchError):
    """A run was stopped from outside; it can be resumed."""

    exit_code = 130

    def __init__(self, path: Path) -> None:
        super().__init__(f"Interrupted; the run is in {path}.")
        self.path = path


Kind = TypeVar("Kind", bound=Directory[Any, Any])


def required_path(kind: type[Kind], declared: Declaration, run_dir: str | Path | None, resume: bool) -> Path | None:
    """The directory that was asked for, which is free unless a run in it is resumed. Raises UserError."""
    if resume and run_dir is None:
        raise UserError("Expected run_dir, the directory of the run to resume, got none.")
    path = None if run_dir is None else Path(run_dir)
    if path is not None and not resume:
        kind.require_free(path, declared)
    return path


def require_data(declared: Declaration, tasks: tuple[str, ...], test: bool = False) -> None:
    """Load the data of every task, so that what is missing is told of before anything is made. Raises UserError."""
    for name in tasks:
        task = declared.task_named(name)
        task.load()
        if test:
            task.load_test()


@contextmanager
def running(
    kind: type[Kind],
    declared: Declaration,
    path: Path | None,
    resume: bool,
    interrupted: type[RunInterrupted],
    force: bool = False,
) -> Iterator[Kind]:
    """The directory of a run that starts or goes on; what stops it from outside is raised as ``interrupted``.

    Raises RunDirectoryError where the directory cannot be written any more.
    """
    run = kind.open(path, declared, force) if resume and path else kind.create(declared, path)
    with watched_for_interruption() as interruption:  # Ray has set its own handlers by now
        try:
            yield run
        except BaseException as error:
            if interruption.explains(error):
                with suppress(OSError):  # of a disk that is full: it is stopped all the same
                    run.log("interrupted")
                raise interrupted(run.path) from None
            if isinstance(error, OSError) and error.errno in _UNWRITABLE and _is_within(run.path, error.filename):
                raise RunDirectoryError(
                    f"{run.path}: expected a directory that can be written, got: {error.strerror}. Everything recorded "
                    "before is kept: mend that, and continue with --resume."
                ) from None
            raise
        finally:
            run.close()


def _is_within(directory: Path, filename: Any) -> bool:
    """Whether an error is about a file of the directory, or the directory itself."""
    return isinstance(filename, str) and Path(filename).absolute().is_relative_to(directory.absolute())


# --- Interruption: knows whether the process was asked to stop, also where a library made an error of its own of it.


@dataclass
class Interruption:
    """Whether SIGINT (Ctrl-C) or SIGTERM (a scheduler) arrived since the watch began."""

    seen: bool = False

    def explains(self, error: BaseException) -> bool:
        """Whether the error came of an interruption.

        A KeyboardInterrupt that strikes while an extension module is imported, for one, leaves it as an ImportError.
        """
        return self.seen or isinstance(error, KeyboardInterrupt)


@contextmanager
def watched_for_interruption() -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM, which both raise KeyboardInterrupt; outside the main thread nothing can be noted."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame: FrameType | None) -> None:
        interruption.seen = True
        raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- Workers: the executor that a declaration and the command ask for.


def executor_for(settings: ExecutorSettings, kind: str | None = None, ray_address: str | None = None) -> Executor:
    """The executor asked for: ``kind`` before ``ray_address`` before the declared one. Raises UserError."""
    kind = kind or ("ray" if ray_address else settings.kind)
    if kind not in ("ray", "inline"):
        raise UserError(f"Expected executor to be ray or inline, got {kind!r}.")
    if kind == "inline":
        if ray_address is not None:
            raise UserError(f"Expected no Ray address beside the inline executor, got {ray_address!r}.")
        return InlineExecutor(settings.device)
    from lossearch.evaluators.executors.cluster_address import of_job, require_answer

    ray_address = ray_address or of_job()
    if ray_address is not None:
        require_answer(ray_address)
    from lossearch.evaluators.executors.ray_executor import RayExecutor

    return RayExecutor(ray_address, settings.workers, settings.deadline, settings.device)
