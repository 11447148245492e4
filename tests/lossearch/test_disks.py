"""A disk that is full, or read-only, from some moment on: told of, and nothing that was recorded is lost."""

import errno
import os

import pytest

from lossearch.launch import search
from lossearch.run_directory import RunDirectoryError
from results.leaderboard import Leaderboard
from tests.lossearch.dying import LASTING, TINY


def fails_from(monkeypatch, step, error):
    """Let every call that makes something last fail, from the so many-th on."""
    left = [step]

    def failing(function):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(error, os.strerror(error))
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


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("step", [0, 2, 5, 9, 14, 20, 27, 35, 44])
def test_a_disk_that_fails_is_named_and_the_run_goes_on_when_it_is_mended(
    tmp_path, monkeypatch, undisturbed, step, error
):
    path = tmp_path / "run"
    with monkeypatch.context() as patched:
        fails_from(patched, step, error)
        with pytest.raises(
            RunDirectoryError, match=f"expected a directory that can be written, got: {os.strerror(error)}"
        ):
            search(TINY, run_dir=path)
    search(TINY, run_dir=path, resume=(path / "experiment.toml").exists())
    assert timeless(path) == timeless(undisturbed)


def test_a_run_in_a_read_only_place_is_refused_at_once(tmp_path, monkeypatch):
    def refused(self, *arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(RunDirectoryError, match=r"got: Read-only file system\. Give another --run-dir"):
        search(TINY, run_dir=tmp_path / "a" / "run")
