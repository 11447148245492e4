"""Options of ``lossearch compare`` with and without a search's directory, and those that it refuses."""

import warnings

import numpy as np
import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.studies import compare as launch_comparison
from lossearch.studies import verdict as launch_verdict

#: Options that apply only without a search's directory.
WITHOUT_A_SEARCH = [
    ["--losses", "mse"],
    ["--tune", "0"],
    ["--baseline", "mse"],
    ["--steps", "3"],
    ["--learning-rate", "0.1"],
    ["--split", "validation"],
    ["--measure", "macro F1"],
    ["--seed", "0"],
    ["--run-dir", "elsewhere"],
    ["--resume"],
]
TOO_LONG = " + ".join(f"{number}*ce(z)" for number in range(1, 60))


def compared(*words):
    return CliRunner().invoke(app, ["compare", *map(str, words)], env={"COLUMNS": "200"})


@pytest.fixture
def run(tmp_path):
    """Directory that the command recognises as a search's."""
    (tmp_path / "experiment.toml").write_text("")
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """Calls of verdicts and comparisons, which all end in a UserError."""
    recorded = []

    def ended(*given, **more):
        recorded.append((given, more))
        raise launch_comparison.UserError("ended here")

    monkeypatch.setattr(launch_verdict, "plan_scenes", lambda run, **size: [])
    monkeypatch.setattr(launch_verdict, "estimate_verdict", lambda *given: "time: not estimated")
    monkeypatch.setattr(launch_verdict, "verdict", ended)
    monkeypatch.setattr(launch_comparison, "compare", ended)
    return recorded


@pytest.mark.parametrize("words", WITHOUT_A_SEARCH, ids=lambda words: words[0])
def test_an_option_that_does_not_apply_to_a_search_is_refused(run, calls, words):
    result = compared(run, *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {words[0]}: expected a comparison, got a search's directory")
    assert "Leave this out" in result.stderr
    assert not calls


def test_all_such_options_are_named_at_once(run, calls):
    result = compared(run, *(word for words in WITHOUT_A_SEARCH for word in words))
    named = result.stderr.removeprefix("error: ").split(": ")[0].split(", ")
    assert sorted(named) == sorted(words[0] for words in WITHOUT_A_SEARCH)
    assert not calls


def test_options_of_judging_reach_the_study(run, calls):
    words = ["--seeds", 7, "--top", 1, "--network", "cnn", "--task", "glyphs", "--executor", "inline"]
    assert compared(run, *words).exit_code == 2
    (((path,), given),) = calls
    del given["view"]
    assert path == run
    assert given == {"seeds": 7, "top": 1, "network": "cnn", "tasks": ["glyphs"], "executor": "inline"}


def test_top_is_refused_without_a_search(calls):
    for words in (["--task", "digits", "--losses", "mse"], ["miniature"]):
        result = compared(*words, "--top", 2)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: --top: expected a search's directory with it, got none")
        assert not calls


def test_a_network_without_a_search_applies_to_every_task(calls):
    compared("--task", "digits", "--task", "digits_noisy", "--losses", "mse", "--network", "cnn")
    (((declared,), _),) = calls
    assert {training.network for training in declared.fidelity_of.values()} == {"cnn"}


def test_the_help_says_how_many_seeds_there_are_with_and_without_a_search():
    shown = compared("--help").stdout
    assert "10, with a search 20" in shown
    assert shown.index("With a search's directory") < shown.index("--top")
    assert shown.index("Without a search's directory") < shown.index("--losses")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([TOO_LONG], "no such file, and no shipped experiment of that name"),
        ([f"runs/{TOO_LONG}"], "no such file, and no shipped experiment of that name"),
        (["miniatur"], "did you mean miniature"),
    ],
)
def test_a_path_without_a_file_is_refused_at_any_length(words, message):
    result = compared(*words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert TOO_LONG not in result.stderr
    assert "Errno" not in result.stderr


@pytest.mark.parametrize("task", ["missing.npz", "./photos", "~/photos"])
def test_a_task_that_looks_like_a_path_is_said_not_to_exist(task):
    result = compared("--task", task, "--losses", "mse")
    assert result.exit_code == 2
    assert f"got '{task}', which does not exist. Correct the path." in result.stderr


def test_a_task_name_too_long_for_a_path_is_refused():
    result = compared("--task", TOO_LONG, "--losses", "mse")
    assert result.exit_code == 2
    assert "Expected --task to be a path, got one that is too long: '1*ce(z)" in result.stderr


def test_a_comparison_where_nothing_trains_says_so_and_why(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs = np.random.default_rng(0).normal(size=(40, 2))
    np.savez("wild.npz", inputs=np.repeat(inputs, 2, 0) * [1.0, 1e12], targets=np.arange(80) % 2)
    words = ["--losses", "focal", "--seeds", "2", "--steps", "9", "--executor", "inline"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        done = compared("--task", "wild.npz", *words)
    assert "The inputs of wild have wild scales" in done.stderr
    assert "Cross-entropy does not train on wild: diverged at step" in done.stderr
    assert "focal failed on wild: diverged at step" in done.stderr
    assert done.stderr.count("samples of") == 1  # the file is read once, and copies in it are counted once
    np.savez("noise.npz", inputs=inputs, targets=np.arange(40) % 2)
    assert "Nothing trains on noise: cross-entropy reaches accuracy" in compared("--task", "noise.npz", *words).stderr
