import os
import subprocess
import sys
from pathlib import Path

import pytest

from lossearch.cli.completion import comparisons, searches

SCRIPT = Path(sys.executable).with_name("lossearch")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "b.toml").write_text("")
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def names(items):
    return [name for name, _ in items]


def test_shipped_names_are_completed_where_they_can_be_searched_or_compared():
    assert names(searches("dig")) == ["digits"]
    assert names(comparisons("dig")) == []
    assert names(comparisons("pedcc_table_1")) == ["pedcc_table_1", "pedcc_table_1_finetuned"]
    assert "noisy_labels" in names(searches(""))


def test_files_and_directories_are_completed(desk):
    assert names(searches("m")) == ["mine.toml"]
    assert names(searches("./m")) == ["./mine.toml"]
    assert names(searches("r"))[-1] == "runs/"
    assert names(comparisons("runs/")) == ["runs/a/", "runs/b.toml"]
    assert names(searches("nowhere/x")) == []
    assert not {"notes.txt", ".hidden/"} & set(names(searches("")))


def test_a_shell_gets_its_completions(desk):
    asked = {"_LOSSEARCH_COMPLETE": "complete_bash", "COMP_WORDS": "lossearch search noisy", "COMP_CWORD": "2"}
    result = subprocess.run([SCRIPT], env=os.environ | asked, capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["noisy_labels"]
    asked = {"_LOSSEARCH_COMPLETE": "complete_bash", "COMP_WORDS": "lossearch leaderboard --pa", "COMP_CWORD": "2"}
    result = subprocess.run([SCRIPT], env=os.environ | asked, capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["--pareto"]
