"""A run stops in good order, and its directory can be locked and named in every file."""

import errno
import fcntl
import os
import signal
from pathlib import Path

import pytest

from lossearch.runs.directory import RunDirectory, RunDirectoryError, lock_directory
from lossearch.runs.session import watch_for_interruption
from tests.lossearch.small import SMALL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_run_like_ctrl_c(number):
    before = signal.signal(number, signal.SIG_DFL)  # nohup ignores one of them
    try:
        with watch_for_interruption() as interruption:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            assert interruption.has_arrived
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_hangup_that_is_ignored_does_not_stop_a_run(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with watch_for_interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not interruption.has_arrived
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EWOULDBLOCK, "another process is writing to this run. Wait for it, or give another --run-dir."),
        (errno.ENOLCK, "expected a directory that can be locked, got: No locks available. Use a disk that has locks."),
    ],
)
def test_a_lock_that_fails_is_told_as_what_it_is(tmp_path, monkeypatch, number, message):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(RunDirectoryError) as refused:
        lock_directory(tmp_path)
    assert message in refused.value.with_options()
    (tmp_path / "run" / "tuning").mkdir(parents=True)
    (tmp_path / "run" / "experiment.toml").touch()
    with pytest.raises(RunDirectoryError, match=r"tuning: .*\.$") as refused:
        lock_directory(tmp_path / "run" / "tuning")
    assert "--run-dir" not in refused.value.with_options()


def test_a_directory_whose_name_is_not_utf8_is_refused_before_the_search(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"udcff: expected a directory whose whole path is UTF-8"):
        RunDirectory.create(SMALL, Path(os.fsdecode(os.fsencode(tmp_path) + b"/run\xff")))
    assert list(tmp_path.iterdir()) == []
