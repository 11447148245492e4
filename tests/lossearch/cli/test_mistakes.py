"""Mistakes on the command line: one line that says what to do, exit code 2, and nothing is written or trained."""

import os
import shutil
from contextlib import chdir

import numpy as np
import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.evaluators.training import training
from lossearch.results.storage.store import EvaluationStore
from tests.lossearch.small import TOML, finished_run
from tests.results.helpers import refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with a run, a comparison, a run without any trained loss, files of data, and files that are neither."""
    path = tmp_path_factory.mktemp("mistakes")
    finished_run(path / "runs" / "good")
    (path / "small.toml").write_text(TOML)
    (path / "runs" / "compared").mkdir()
    (path / "runs" / "compared" / "comparison.toml").write_text('name = "c"\ntasks = ["digits"]\nlosses = ["mse"]\n')
    shutil.copytree(path / "runs" / "good", path / "refused")
    shutil.rmtree(path / "refused" / "evaluations")
    reasons = ["flat: the largest slope is 1e-9", "flat: the largest slope is 0", "untrainable: 3%"]
    records = [refused(f"ce(z) + {number}", reason=reason) for number, reason in enumerate(reasons, 1)]
    EvaluationStore(path / "refused" / "evaluations").append(records)
    (path / "notes.txt").write_text("mine")
    (path / "table.csv").write_text("height,width,label\n1,2,cat\n")
    inputs = np.random.default_rng(0).normal(size=(40, 3))
    np.save(path / "array.npy", inputs)
    labels = np.arange(40) % 2
    np.savez(path / "good.npz", inputs=inputs, targets=labels)
    np.savez(path / "texts.npz", inputs=inputs, targets=np.array(["cat", "dog"])[labels].astype(object))
    np.savez(path / "words.npz", inputs=inputs, targets=np.array(["cat", "dog"])[labels])
    np.savez(path / "huge.npz", inputs=inputs, targets=labels + 2_000_000_000)
    return path


def list_files(folder):
    return sorted(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)


def lossearch(folder, *words):
    with chdir(folder):
        return CliRunner().invoke(app, list(words))


COMPARE = ["compare", "--task", "digits", "--losses", "mse", "--executor", "inline"]
LARGE = str(10**9)

MISTAKES = [
    # words of the command line
    (["statuss", "runs/good"], "statuss: lossearch has no such command; did you mean status"),
    (["mine.toml"], "mine.toml: lossearch has no such command"),
    (["--json", "status"], "--json: lossearch has no such option"),
    (["status"], "expected RUN, got none. Directory of a run. Usage: lossearch status"),
    (["show", "runs/good"], "expected ID, got none"),
    (["export", "focal"], "expected --out, got none. File to write"),
    (["status", "runs/good", "--jsno"], "--jsno: lossearch status has no such option; did you mean --json"),
    (["status", "runs/good", "more"], "expected no further word, got 'more'"),
    (["export", "ce(z)", "+", "p", "--out", "x.py"], "expected no further word, got '+ p'. Put a formula"),
    (["show", "runs/good", "-1"], "-1: lossearch show has no such option"),
    (["status", "runs/good", "--json=yes"], "--json: expected no value, got one. Write --json alone"),
    (["tune", "runs/good", "--seeds"], "--seeds: expected a whole number from 1 to 1000, got none"),
    (["tune", "runs/good", "--seeds", "ten"], "--seeds: expected a whole number from 1 to 1000, got 'ten'"),
    (["leaderboard", "runs/good", "--top", "0"], "--top: expected a whole number, 1 or more, got 0"),
    (["leaderboard", "runs/good", "--top=1e3"], "--top: expected a whole number, 1 or more, got '1e3'"),
    (["report", "runs/good", "--top", "99"], "--top: expected a whole number from 0 to 50, got 99"),
    ([*COMPARE, "--learning-rate", "fast"], "--learning-rate: expected a number, got 'fast'"),
    ([*COMPARE, "--split", "tset"], "--split: expected test or validation, got 'tset'; did you mean test"),
    (["search", "small.toml", "--executor", "inlin"], "--executor: expected ray or inline, got 'inlin'; did you mean"),
    # what is compared, and where
    ([*COMPARE, "--network", "mlpp"], "--network: expected the name of a network, got 'mlpp'; did you mean mlp"),
    (
        [*COMPARE, "--measure", "mean IoU"],
        "--measure: expected a measure of digits, one of accuracy, ",
    ),
    ([*COMPARE, "--measure", "acuracy"], "Unknown --measure 'acuracy'; did you mean"),
    ([*COMPARE, "--learning-rate", "nan"], "--learning-rate: expected "),
    ([*COMPARE, "--seeds", "5000"], "--seeds: expected less than or equal to 1000, got 5000"),
    ([*COMPARE, "--ray-address", "auto"], "--ray-address: expected --executor ray with it, got inline"),
    (
        ["compare", "--task", "digits", "--losses", "focal,focal"],
        "got 'focal' twice. Name each once",
    ),
    (["compare", "--task", "digitz", "--losses", "mse"], "error: --task: Unknown task 'digitz'; did you mean digits"),
    (["compare", "--task", "digits", "--losses", "focl"], "error: --losses: Unknown loss 'focl'; did you mean focal"),
    (["compare", "--task", "digits", "--losses", "0*ce(z)"], "Expected a formula whose value depends on the predict"),
    (["explain", "0*ce(z)", "--task", "digits"], "Expected a formula whose value depends on the predictions"),
    (["compare", "runs/goood"], "runs/goood: no such file, and no shipped experiment of that name; did you mean good"),
    (["compare", "runs"], "runs: expected a TOML file, got a folder of 2 runs"),
    (["compare", "runs/compared"], "a comparison: 'lossearch compare --run-dir runs/compared --resume'"),
    (
        ["search", "small.toml", "--run-dir", "runs/compared"],
        "expected a new or empty directory, got the directory of",
    ),
    (["search", "small.toml", "--run-dir", "runs/good", "--resume", "--seed", "9"], "seed was 3, is 9"),
    (["search", "small.toml", "--run-dir", "notes.txt/x", "--dry-run"], "expected a directory that can be written"),
    (["search", "small.toml", "--run-dir", "runs/good", "--dry-run"], "Continue it with --resume"),
    (["search", "small.toml", "--track", "tensorbord", "--dry-run"], "error: Expected a tracker, tensorboard, mlflow"),
    (["search", "small.toml", "--ray-address", "nowhere", "--dry-run"], "Expected a Ray address like"),
    (
        ["fidelity", "--task", "digits", "--out", "runs/good"],
        "expected a new or empty directory, got the directory of",
    ),
    (["explain", "focal", "--task", "digits", "--run-dir", "notes.txt"], "expected a directory that can be written"),
    # own data
    (
        ["compare", "--task", "table.csv", "--losses", "mse"],
        "got a .csv file of text, which cannot be read. Fold",
    ),
    (["compare", "--task", "array.npy", "--losses", "mse"], "got one array without a name. Folders of images and .npz"),
    (["compare", "--task", "texts.npz", "--losses", "mse"], "Python objects in targets, such as texts"),
    (["compare", "--task", "words.npz", "--losses", "mse"], "texts, <U3. numpy.unique(targets, return_inverse=True)"),
    (["compare", "--task", "huge.npz", "--losses", "mse"], "0 of class 0, and class 2000000001. numpy.unique(targets"),
    (["compare", "--task", "gone.csv", "--losses", "mse"], "got 'gone.csv', which does not exist"),
    # runs
    (["status", "runs"], "runs: expected the directory of a run, got a folder of 2 runs, the newest first: runs/"),
    (
        ["leaderboard", "runs/compared"],
        "got the directory of a comparison: 'lossearch compare --run-dir runs/compared --resume'",
    ),
    (["show", "runs/compared", "1"], "expected the directory of a run, got the directory of"),
    (["report", "runs/compared"], "expected the directory of a run, got the directory of"),
    (
        ["export", "runs/compared", "--out", "x.py"],
        "expected the directory of a run, got the directory of",
    ),
    (["tune", "runs/compared"], "expected the directory of a run, got the directory of"),
    (["status", "runs/good/evaluations"], "got a folder of the run good. Give the run itself"),
    (["show", "runs/good", "cross_entrop"], "got 'cross_entrop'; did you mean cross_entropy"),
    (["leaderboard", "runs/good", "--task", "digit"], "Expected a task of the run, got 'digit'; did you mean digits?"),
    (["export", "refused", "--out", "x.py"], "expected a loss that was trained to the end, got none: 3 rejected. Most"),
    # files that are written
    (["report", "runs/good", "--no-training", "--out", "notes.txt"], "or replace it with --force"),
    (["report", "runs/good", "--no-training", "--out", "runs"], "Give a file in it, such as runs/report.html"),
    (["export", "focal", "--out", "runs"], "Expected a path that ends in .py, .onnx, .pt2"),
    (["export", "focal", "--format", "py", "--out", "runs"], "Give a file in it, such as runs/my_loss.py"),
    (["export", "focal", "--format", "py", "--out", "/dev/null", "--force"], "got a device or a pipe"),
    (["export", "focal", "--out", "x.pt2", "--num-classes", LARGE], "Expected --num-classes of at most 16,777,216"),
    (
        ["export", "arcface", "--out", "x.pt2", "--num-classes", "9000000", "--embedding-size", "512"],
        "Expected class weights of at most 268,435,456 numbers in a graph",
    ),
    (
        ["export", "pedcc", "--out", "x.onnx", "--num-classes", "90000", "--embedding-size", "2"],
        "Give fewer --num",
    ),
    (["export", "0*ce(z)", "--out", "x.py"], "Expected a formula whose value depends on the predictions"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_one_line_and_changes_nothing(folder, words, message, monkeypatch):
    monkeypatch.setattr(training, "Training", None)
    before = list_files(folder)
    result = lossearch(folder, *words)
    assert message in result.stderr
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert ".." not in line.replace("...", "")
    assert "?." not in line
    assert list_files(folder) == before


COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_of_any_command_is_one_line_with_its_options(command):
    result = CliRunner().invoke(app, [command, "--halp"])
    assert result.exit_code == 2
    assert result.stderr == f"error: --halp: lossearch {command} has no such option; did you mean --help?\n"
    assert CliRunner().invoke(app, [command, "-h"]).exit_code == 0


def test_a_leaderboard_without_a_trained_loss_says_why_and_ends_with_3(folder):
    result = lossearch(folder, "leaderboard", "refused")
    assert (result.exit_code, result.stdout) == (3, "")
    reason = "Most frequent reason, 2 of 3: flat: the largest slope is 1e-9."
    assert result.stderr == f"No loss was trained to the end yet: 3 rejected. {reason}\n"
    as_json = lossearch(folder, "leaderboard", "refused", "--json")
    assert (as_json.exit_code, as_json.stdout) == (3, "[]\n")


def test_a_condition_that_no_loss_meets_is_said(folder):
    result = lossearch(folder, "leaderboard", "runs/good", "--where", "complexity<1")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No loss meets these conditions.\n")


@pytest.mark.parametrize(
    "words", [["show", "torn", "1"], ["report", "torn", "--no-training"]], ids=lambda words: words[0]
)
def test_a_part_that_cannot_be_read_is_named_in_one_line(folder, tmp_path, words):
    shutil.copytree(folder / "runs" / "good", tmp_path / "torn")
    part = min((tmp_path / "torn" / "evaluations").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-9])
    result = lossearch(tmp_path, *words)
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert part.name in warning
    assert warning.endswith(". Its evaluations are left out.")
    assert result.exit_code == 0


def test_files_that_a_killed_process_left_are_named_and_harmless(folder, tmp_path):
    shutil.copytree(folder / "runs" / "good", tmp_path / "killed")
    left = [".leaderboard.parquet.0123456789abcdef.writing", "evaluations/.000009.parquet.0123456789abcdef.writing"]
    for name in left:
        (tmp_path / "killed" / name).write_bytes(b"PAR1")
    shown = lossearch(tmp_path, "status", "killed")
    assert shown.stdout.splitlines()[-1].endswith(f"never read, and safe to remove: {', '.join(left)}")
    assert lossearch(tmp_path, "leaderboard", "killed").stdout == lossearch(folder, "leaderboard", "runs/good").stdout


def test_an_earlier_report_is_replaced_and_another_file_with_consent(folder, tmp_path):
    words = ["report", str(folder / "runs" / "good"), "--no-training", "--top", "0", "--out", "mine.html"]
    (tmp_path / "mine.html").write_text("mine")
    assert lossearch(tmp_path, *words).exit_code == 2
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert lossearch(tmp_path, *words, "--force").exit_code == 0
    assert lossearch(tmp_path, *words).exit_code == 0


def test_a_formula_that_a_search_would_not_train_is_exported_with_a_note(tmp_path):
    result = lossearch(tmp_path, "export", "ce(0 - z)", "--out", "x.py")
    assert result.exit_code == 0
    assert "note: A search would not train this formula: untrainable: " in result.stderr


def test_a_tracker_named_twice_is_asked_once(folder, monkeypatch):
    asked = []
    monkeypatch.setattr("lossearch.trackers.known_tracker", asked.append)
    assert lossearch(folder, "search", "small.toml", *["--track", "mlflow"] * 2, "--dry-run").exit_code == 0
    assert asked == ["mlflow"]
