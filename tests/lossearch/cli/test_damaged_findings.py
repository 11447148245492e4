"""Files of tuning and verdicts that cannot be read, or that no run writes, are named in one line by each command."""

import shutil
import warnings

import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.results.leaderboard import Leaderboard
from tests.lossearch.small import finished_run

DAMAGED = ("tuning/tuned.parquet", "verdict/verdicts.parquet", "tuning/tuning/000001.parquet")
FOREIGN = ("tuning/tuning/notes.txt", "verdict/own_digits/measurements/notes.txt")


@pytest.fixture
def run(tmp_path):
    path = shutil.copytree(finished_run(tmp_path / "first").path, tmp_path / "run")
    for name in (*DAMAGED, *FOREIGN):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("no Parquet")
    return path


def call(*words):
    result = CliRunner().invoke(app, list(map(str, words)), prog_name="lossearch")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output.splitlines()


@pytest.mark.parametrize("command", ["leaderboard", "status"])
def test_a_command_names_each_file_in_one_warning(run, command):
    code, lines = call(command, run)
    assert code == 0
    for name in (*DAMAGED, "tuning/tuning: left alone", "own_digits/measurements: left alone"):
        assert len([line for line in lines if name in line and line.startswith("warning: ")]) == 1, name


def test_an_export_that_needs_a_damaged_file_is_refused_in_one_line(run, tmp_path):
    for options in ([], ["--tuned"], ["--rank", "1", "--tuned"]):
        code, lines = call("export", run, "--out", tmp_path / "a.py", *options)
        assert (code, len(lines)) == (2, 1)
        assert "tuned.parquet" in lines[0]
    code, lines = call("export", run, "--out", tmp_path / "a.py", "--rank", "1", "--untuned")
    assert code == 0
    assert any("verdicts.parquet" in line for line in lines)


@pytest.mark.parametrize("read", [Leaderboard.tuned, Leaderboard.judged, Leaderboard.best])
def test_a_leaderboard_warns_of_each_file(run, read):
    board = Leaderboard(run)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read(board)
    messages = [str(warning.message) for warning in caught]
    for name in DAMAGED:
        assert len([message for message in messages if name in message]) == 1


def test_a_sound_run_causes_no_warning(tmp_path):
    run = finished_run(tmp_path / "first").path
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Leaderboard(run).tuned() == Leaderboard(run).judged() == []
