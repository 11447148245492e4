"""A command goes on when nobody reads what it prints, and ends with its own exit code."""

import os
import subprocess
import sys

import pytest

CODE = """
import sys
from lossearch.cli.streams import make_enduring
make_enduring()
for number in range(2_000):
    print("data " * 40)
    print("message " * 40, file=sys.stderr)
with open(sys.argv[1], "w") as file:
    file.write(f"{file.fileno() > 2} ended")
sys.exit(3)
"""

CLOSED = {
    "the message pipe": "{} 2>&1 >/dev/null | head -1",
    "both pipes": "{} 2>&1 | head -1",
    "the data pipe": "{} 2>/dev/null | head -1",
    "standard output": "{} >&- 2>/dev/null",
    "standard error": "{} 2>&- >/dev/null",
    "all": "{} <&- >&- 2>&-",
}


@pytest.mark.parametrize("command", CLOSED.values(), ids=CLOSED)
def test_a_command_ends_with_its_own_code_when_nobody_reads_it(tmp_path, command):
    program = f"{sys.executable} -c '{CODE}' {tmp_path / 'file'}"
    whole = f"set -o pipefail\n{command.format(program)}"
    ended = subprocess.run(["bash", "-c", whole], capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert (tmp_path / "file").read_text() == "True ended"
    assert "Error" not in ended.stdout + ended.stderr


def test_what_is_read_is_printed_whole(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "file")], capture_output=True, text=True, check=False
    )
    assert (ended.stdout.count("data "), ended.stderr.count("message ")) == (80_000, 80_000)


@pytest.mark.parametrize(
    ("words", "code"),
    [("--version >&-", 0), ("losses >&-", 0), ("--version >/dev/full", 1), ("show -h >/dev/full", 1)],
)
def test_lossearch_without_a_place_to_print_to_ends_without_a_traceback(words, code):
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m lossearch {words}"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


def test_a_working_directory_that_was_removed_is_named(tmp_path):
    line = f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -m lossearch status run"
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    ended = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "error: expected a working directory that exists" in ended.stderr
