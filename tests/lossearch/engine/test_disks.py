"""A disk that becomes full or read-only is reported, and no recorded evaluation is lost."""

import errno
import math
import os
import shutil

import pytest

from lossearch.callbacks import Callback
from lossearch.engine.admission import Admission
from lossearch.engine.launch import SearchInterrupted, search
from lossearch.results.leaderboard import Leaderboard
from lossearch.runs.directory import RunDirectoryError
from tests.long_cases import long_unless
from tests.lossearch.dying import LASTING, STEADY, TINY
from tests.lossearch.engine.test_steady import require_each_once


class Struck(KeyboardInterrupt):
    """Ctrl-C at the worst moment."""


#: What a search may be like, and what a call may raise in it.
KINDS = {"generational": TINY, "steady": STEADY}
ERRORS = {"EIO": lambda: OSError(errno.EIO, os.strerror(errno.EIO)), "Ctrl-C": Struck}


def fails(monkeypatch, step, error, times=None):
    """Let calls that make a change permanent raise an error, from a given call on, a number of times or for ever."""
    done = [0]

    def failing(function):
        def call(*arguments, **options):
            done[0] += 1
            if step < done[0] <= (math.inf if times is None else step + times):
                raise error()
            return function(*arguments, **options)

        return call

    for name in LASTING:
        monkeypatch.setattr(os, name, failing(getattr(os, name)))


def timeless(path):
    rows = Leaderboard(path).to_dicts()
    return [{key: value for key, value in row.items() if key not in ("seconds", "finished_at")} for row in rows]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return search(TINY, run_dir=tmp_path_factory.mktemp("runs") / "undisturbed").path


@pytest.mark.parametrize(
    ("step", "error"),
    long_unless(
        [
            (step, error)
            for step in (0, 2, 5, 9, 14, 20, 27, 35, 44)
            for error in (errno.ENOSPC, errno.EROFS, errno.EIO)
        ],
        short=[(0, errno.ENOSPC), (9, errno.EROFS), (27, errno.EIO), (44, errno.ENOSPC)],
    ),
)
def test_a_failing_disk_is_named_and_the_run_continues_after_its_repair(
    tmp_path, monkeypatch, undisturbed, step, error
):
    path = tmp_path / "run"
    with monkeypatch.context() as patched:
        fails(patched, step, lambda: OSError(error, os.strerror(error)))
        with pytest.raises(
            RunDirectoryError, match=f"expected a directory that can be written, got: {os.strerror(error)}"
        ):
            search(TINY, run_dir=path)
    search(TINY, run_dir=path, resume=(path / "experiment.toml").exists())
    assert timeless(path) == timeless(undisturbed)
    require_each_once(path)


@pytest.mark.parametrize(
    ("kind", "error", "stride"),  # the stride between the steps at which it fails
    long_unless(
        [(kind, error, stride) for kind in KINDS for error in ERRORS for stride in (1, 9)],
        short=[("generational", "EIO", 9), ("steady", "Ctrl-C", 9)],
    ),
)
def test_a_single_failing_call_writes_nothing_twice(tmp_path, monkeypatch, kind, error, stride):
    experiment, step, stopped = KINDS[kind], 0, True
    while stopped:
        path = tmp_path / str(step)
        with monkeypatch.context() as patched:
            fails(patched, step, ERRORS[error], times=1)
            try:
                search(experiment, run_dir=path)
                stopped = False
            except (RunDirectoryError, SearchInterrupted, Struck):
                pass
        search(experiment, run_dir=path, resume=(path / "experiment.toml").exists())
        require_each_once(path)
        if experiment is TINY and (stride > 1 or step % 5 == 0):
            assert timeless(path) == timeless(tmp_path / "0")
        step += stride
    assert step > 20


def test_a_file_elsewhere_that_cannot_be_read_is_not_blamed_on_the_run(tmp_path, monkeypatch):
    def refused(self, births, generation, wanted):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/somewhere/else")

    monkeypatch.setattr(Admission, "screen", refused)
    with pytest.raises(PermissionError, match="/somewhere/else"):
        search(TINY, run_dir=tmp_path / "run")


def test_a_run_in_a_read_only_place_is_refused_at_once(tmp_path, monkeypatch):
    def refused(self, *arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(RunDirectoryError, match=r"got: Read-only file system\. Give another run_dir"):
        search(TINY, run_dir=tmp_path / "a" / "run")


class Moves(Callback):
    """Moves the directory of a run, or leaves the working directory, while the run trains."""

    def __init__(self, change):
        self.change = change

    def on_generation(self, generation):
        if generation.number == 1:
            self.change()


@pytest.mark.parametrize("kind", ["moved", "removed", "left"])
def test_a_run_that_is_moved_stops_with_its_records_in_one_place(kind, tmp_path, monkeypatch, undisturbed):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    change = {
        "moved": lambda: os.rename("run", "there"),
        "removed": lambda: shutil.rmtree("run"),
        "left": lambda: os.chdir("other"),
    }[kind]
    with pytest.raises(RunDirectoryError, match="run: expected the directory of this run, got none: it was moved"):
        search(TINY, run_dir="run", callbacks=[Moves(change)])
    os.chdir(tmp_path)
    assert not any((tmp_path / "other").iterdir())
    if kind == "removed":
        assert not (tmp_path / "run").exists()
        return
    kept = tmp_path / ("there" if kind == "moved" else "run")
    search(TINY, run_dir=kept, resume=True)
    assert timeless(kept) == timeless(undisturbed)
    assert {path.name for path in tmp_path.iterdir()} == {kept.name, "other"}
