"""TOML of any origin is read, or refused in one line: whatever its size, depth and encoding."""

import os
import tomllib

import pytest

from lossearch.primitives.errors import UserError
from lossearch.results.storage.run_files import MAX_DECLARATION
from lossearch.runs.directory import RunDirectory, RunDirectoryError
from lossearch.runs.experiment import load_experiment

MINIMAL = 'name = "x"\ntask = "digits"\n'

HOSTILE = {
    "deep arrays": (f"a = {'[' * 20_000}{']' * 20_000}", "nested more than 16 deep"),
    "deep tables": (f"a = {'{a = ' * 20_000}1{'}' * 20_000}", "nested more than 16 deep"),
    "a deep key": (".".join(["a"] * 200) + " = 1", "nested more than 16 deep"),
    "a deep table": ("[" + ".".join(["a"] * 20_000) + "]", "a key of more than 256 names"),
    "a long number": (f"seed = {'9' * 5_000}", "expected TOML, got: Exceeds the limit"),
    "a long value": (f'seed = "{"9" * 100_000}"', r"seed: expected integer, got '9+\.\.\."),
    "a long key": (f"{'k' * 100_000} = 1", r"k+\.\.\.: unknown key"),
    "many keys": ("\n".join(f"k{number} = 1" for number in range(5_000)), "and 4992 more"),
    "a large file": ("#" * (MAX_DECLARATION + 1), "at most 262,144 bytes"),
    "a table without end": ("[[[", "expected TOML, got:.*line 3"),
    "no text": (b"\xff\xfe\x00", "not UTF-8, from byte 27 on"),
    "null": (MINIMAL + "seed = 1\0", "expected TOML"),
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_toml_is_refused_in_one_line(tmp_path, text, message):
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "experiment.toml").write_bytes(MINIMAL.encode() + content)
    for read in (lambda: load_experiment(str(tmp_path / "experiment.toml")), lambda: RunDirectory.recorded(tmp_path)):
        with pytest.raises(UserError, match=message) as refused:
            read()
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 3_000


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / "experiment.toml")
    with pytest.raises(UserError, match="expected a TOML file, got"):
        load_experiment(str(tmp_path / "experiment.toml"))
    with pytest.raises(RunDirectoryError, match="expected a TOML file, got"):
        RunDirectory.recorded(tmp_path)


@pytest.mark.parametrize("name", ["x" * 5_000, "a/" * 3_000, "a\0b", ""])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(UserError) as refused:
        load_experiment(name)
    assert len(str(refused.value)) < 3_000


def test_editors_of_windows_may_write_a_file(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_experiment(str(tmp_path / "x.toml")).name == "x"


def test_the_declaration_that_a_run_keeps_declares_the_same_experiment(tmp_path):
    (tmp_path / "x.toml").write_text(MINIMAL)
    declared = load_experiment(str(tmp_path / "x.toml"))
    RunDirectory.create(declared, tmp_path / "run").close()
    assert "provenance" in tomllib.loads((tmp_path / "run" / "experiment.toml").read_text())
    assert load_experiment(str(tmp_path / "run" / "experiment.toml")) == declared
    (tmp_path / "x.toml").write_text(MINIMAL + "[provenance]\n")
    with pytest.raises(UserError, match="provenance: unknown key"):
        load_experiment(str(tmp_path / "x.toml"))
