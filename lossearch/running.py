"""Running: the directory of a run is opened, held while it runs, told of an interruption, and let go."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from lossearch.declaration import Declaration
from lossearch.interruption import watched_for_interruption
from lossearch.primitives.errors import UserError
from lossearch.run_directory import Directory, RunDirectoryError

#: What is wrong with a disk, and not with us.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


class RunInterrupted(Exception):
    """A run was stopped from outside; it can be resumed."""

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
