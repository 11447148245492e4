"""The provenance of a run: the commit of its code."""

import subprocess

from lossearch.runs import provenance


def test_the_commit_is_that_of_the_code_and_not_of_a_repository_around_an_installation(tmp_path, monkeypatch):
    own = provenance._read_git_commit()
    assert own is None or len(own) == 40
    installed = tmp_path / "venv" / "provenance.py"
    installed.parent.mkdir()
    installed.touch()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "first"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert provenance._read_git_commit() is None
    subprocess.run([*git, "add", "venv"], check=True)
    assert provenance._read_git_commit() is not None
