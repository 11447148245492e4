"""Run a study in its directory, on workers that are closed at the end, with a view and until an interruption.

Whatever stops a study, everything measured stays, and the same call continues it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lossearch.evaluators.executors.executor import Executor
from lossearch.runs.declaration import Declaration, ExecutorSettings
from lossearch.runs.directory import Directory, require_writable
from lossearch.runs.session import RunInterrupted, executor_for, running
from lossearch.runs.views import SilentView, View

Kind = TypeVar("Kind", bound=Directory[Any, Any])
Finding = TypeVar("Finding")


class StudyInterrupted(RunInterrupted):
    """A study was stopped from outside; the same call continues it."""

    def __init__(self, path: Path, study: str) -> None:
        super().__init__(path)
        self.study = study  #: comparison, tuning, verdict, explanation or study of proxies

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.path, self.study)


def run_study(
    study: str,
    directory: type[Kind],
    declared: Declaration,
    path: Path | None,
    body: Callable[[Kind, View], Finding],
    view: View | None = None,
    *,
    resume: bool | None = None,
    force: bool = False,
) -> Finding:
    """Open the directory of a study, run ``body`` in it, and return the result.

    A ``path`` of None makes a new directory. A ``resume`` of None continues the study that the directory holds, or
    begins one. ``force`` accepts the changes that the kind of directory allows.

    Raises RunDirectoryError, and StudyInterrupted on Ctrl-C.
    """
    if resume is None:
        resume = path is not None and os.path.exists(path / directory.FILE)  # pathlib fails where a path is too long
    view = view or SilentView()
    try:
        with running(directory, declared, path, resume, RunInterrupted, force) as run:
            view.started(run.path)
            return body(run, view)
    except RunInterrupted as stopped:
        raise StudyInterrupted(stopped.path, study) from None


def require_place(directory: type[Kind], declared: Declaration, path: Path | None, force: bool = False) -> None:
    """Raise RunDirectoryError where ``run_study`` could not open the directory. Call it before ``open_workers``."""
    is_begun = path is not None and os.path.exists(path / directory.FILE)
    if path is not None and is_begun:
        directory.require_resumable(path, declared, force)
    elif path is not None:
        directory.require_free(path, declared)
    else:
        require_writable(Path("runs"))


@contextmanager
def open_workers(
    settings: ExecutorSettings, executor: str | None = None, ray_address: str | None = None
) -> Iterator[Executor]:
    """Provide the executor that a call or its declaration asks for, and close it at the end.

    Raises UserError and ClusterUnreachable. Enter it before a directory is made: then a failure leaves none behind.
    """
    workers = executor_for(settings, executor, ray_address)
    try:
        yield workers
    finally:
        workers.close()
