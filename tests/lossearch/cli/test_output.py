"""Messages that end a command."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.cli.output import as_words, print_path, say
from lossearch.results.findings.verdict_table import VerdictTable, read_verdicts
from lossearch.studies import tune as launch_tuning
from lossearch.studies import verdict as launch_verdict
from lossearch.studies.runner import StudyInterrupted
from tests.lossearch.small import finished_run

HOSTILE = "\x1b[2J[red]x[/red]\nerror: forged\u202e"
EVIDENCE = Path(__file__).parents[3] / "experiments" / "evidence" / "noisy_labels_1"


def test_options_are_given_as_they_are_typed():
    options = {"run_dir": Path("a b"), "resume": True, "seed": None, "no_random_search": False, "task": ["x", "y"]}
    assert as_words(options) == ["--run-dir", "a b", "--resume", "--task", "x", "--task", "y"]


def test_a_message_holds_nothing_that_a_terminal_obeys(capsys):
    say(f"one {HOSTILE}\ntwo")
    said = capsys.readouterr().err
    assert said == "one \ufffd[2J[red]x[/red]\nerror: forged\ufffd\ntwo\n"


def raising(error):
    def stopped(*_, **__):
        raise error

    return stopped


@pytest.mark.parametrize(
    "words",
    [
        ["tune", "RUN", "--top", "2", "--trials", "3", "--seeds", "1", "--no-random-search", "--executor", "inline"],
        ["compare", "RUN", "--seeds", "7", "--network", "cnn", "--task", "digits", "--task", "glyphs"],
    ],
)
def test_an_interrupted_command_prints_the_command_that_continues_it(tmp_path, monkeypatch, words):
    run = tmp_path / "run"
    run.mkdir()
    (run / "experiment.toml").write_text("")
    monkeypatch.setattr(launch_tuning, "estimate_tuning", lambda *_, **__: "")
    monkeypatch.setattr(launch_tuning, "tune", raising(StudyInterrupted(run, "tuning")))
    monkeypatch.setattr(launch_verdict, "plan_scenes", lambda run, **size: [])
    monkeypatch.setattr(launch_verdict, "estimate_verdict", lambda *_: "")
    monkeypatch.setattr(launch_verdict, "verdict", raising(StudyInterrupted(run, "verdict")))
    words = [str(run) if word == "RUN" else word for word in words]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1].split()[-len(words) :] == words  # after the name of the program


def test_verdicts_from_a_stranger_cannot_forge_a_line(tmp_path):
    finished_run(tmp_path / "run")
    kept = read_verdicts(EVIDENCE).lines[0]
    hostile = replace(kept, rank=1, scene=HOSTILE, task=HOSTILE, verdict=HOSTILE, why=HOSTILE)
    (tmp_path / "run" / "verdict").mkdir()
    VerdictTable([hostile]).write(tmp_path / "run" / "verdict")
    result = CliRunner().invoke(app, ["leaderboard", str(tmp_path / "run")])
    assert result.exit_code == 0
    assert "\x1b" not in result.output + result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("error")] == []
    assert "[red]x[/red]" in result.stderr


STRANGE_NAMES = {
    "a line end": "runs\nerror: forged",
    "a long name": "a" * 300,
    "a long path": "/".join(["b" * 200] * 30),
    "a file in its place": "file/x",
    "escapes": "\x1b[2J\u202e",
}


@pytest.mark.parametrize("name", STRANGE_NAMES.values(), ids=STRANGE_NAMES)
@pytest.mark.parametrize(
    "words",
    [["status", "NAME"], ["report", "NAME"], ["report", "RUN", "--no-training", "--top", "0", "--out", "NAME"]],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_strange_path_is_one_line_and_wrong_input(tmp_path, name, words):
    finished_run(tmp_path / "run")
    (tmp_path / "file").touch()
    replaced = {"RUN": str(tmp_path / "run"), "NAME": str(tmp_path / name)}
    result = CliRunner().invoke(app, [replaced.get(word, word) for word in words])
    if "--out" in words and name in (STRANGE_NAMES["a line end"], STRANGE_NAMES["escapes"]):
        assert result.exit_code == 0  # such a file can be written
        return
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()


def test_a_written_path_is_whole_in_a_pipe_and_printable_on_a_terminal(capsys, monkeypatch):
    print_path(Path("a\x1b[2J"))
    assert capsys.readouterr().out == "a\x1b[2J\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_path(Path("a\x1b[2J"))
    assert capsys.readouterr().out == "a\ufffd[2J\n"
