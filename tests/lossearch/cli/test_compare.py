"""Options of ``lossearch compare`` with and without a search's directory, and those that it refuses."""

import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.studies import compare as launch_comparison
from lossearch.studies import verdict as launch_verdict

#: Each option that only counts without a search's directory.
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
    """A directory that the command takes for a search's."""
    (tmp_path / "experiment.toml").write_text("")
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """Calls of verdicts and comparisons, which all end in a UserError."""
    recorded = []

    def ended(*given, **more):
        recorded.append((given, more))
        raise launch_comparison.UserError("ended here")

    monkeypatch.setattr(launch_verdict, "verdict", ended)
    monkeypatch.setattr(launch_comparison, "compare", ended)
    return recorded


@pytest.mark.parametrize("words", WITHOUT_A_SEARCH, ids=lambda words: words[0])
def test_an_option_that_a_search_has_no_use_for_is_refused(run, calls, words):
    found = compared(run, *words)
    assert found.exit_code == 2
    assert found.stderr.startswith(f"error: {words[0]}: expected a comparison, got a search's directory")
    assert "Leave this out" in found.stderr
    assert not calls


def test_all_such_options_are_named_at_once(run, calls):
    found = compared(run, *(word for words in WITHOUT_A_SEARCH for word in words))
    named = found.stderr.removeprefix("error: ").split(": ")[0].split(", ")
    assert sorted(named) == sorted(words[0] for words in WITHOUT_A_SEARCH)
    assert not calls


def test_what_a_search_is_judged_by_arrives(run, calls):
    words = ["--seeds", 7, "--top", 1, "--network", "cnn", "--task", "glyphs", "--executor", "inline"]
    assert compared(run, *words).exit_code == 2
    (((path,), given),) = calls
    del given["view"]
    assert path == run
    assert given == {"seeds": 7, "top": 1, "network": "cnn", "tasks": ["glyphs"], "executor": "inline"}


def test_top_is_refused_without_a_search(calls):
    for words in (["--task", "digits", "--losses", "mse"], ["miniature"]):
        found = compared(*words, "--top", 2)
        assert found.exit_code == 2
        assert found.stderr.startswith("error: --top: expected a search's directory with it, got none")
        assert not calls


def test_a_network_without_a_search_is_that_of_every_task(calls):
    compared("--task", "digits", "--task", "digits_noisy", "--losses", "mse", "--network", "cnn")
    (((declared,), _),) = calls
    assert {each.network for each in declared.fidelity_of.values()} == {"cnn"}


def test_the_help_says_how_many_seeds_there_are_with_and_without_a_search():
    shown = compared("--help").stdout
    assert "10; of a search's, 20" in shown
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
def test_what_is_no_file_is_refused_however_long_it_is(words, message):
    found = compared(*words)
    assert found.exit_code == 2
    assert message in found.stderr
    assert TOO_LONG not in found.stderr
    assert "Errno" not in found.stderr


def test_a_task_that_is_too_long_for_a_path_is_an_unknown_one():
    found = compared("--task", TOO_LONG, "--losses", "mse")
    assert found.exit_code == 2
    assert "tasks: Unknown task '1*ce(z)" in found.stderr
