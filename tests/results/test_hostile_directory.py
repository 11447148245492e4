"""The directory of a stranger: nothing outside it is read or changed, and no command ends in a traceback."""

import json
import os
import socket
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lossearch import plot
from lossearch.cli.app import app
from lossearch.primitives.errors import LossearchError
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import Evaluation
from lossearch.results.storage.atomic import append_at, append_text, remove, replace_text, set_aside, write_whole_text
from lossearch.results.storage.run_files import (
    MAX_LOG,
    MAX_STATE,
    MAX_SUMMARY,
    ForeignFile,
    make_folder,
    open_run_file,
)
from lossearch.results.storage.store import EvaluationStore
from lossearch.studies.tuner import _is_json
from tests.long_cases import long_unless
from tests.lossearch.small import TOML, finished_run
from tests.results.helpers import evaluation

SECRET = "what lies outside is nobody's business"

#: What each command is called with, beside the run.
READING = {
    "status": (),
    "leaderboard": (),
    "show": ("1",),
    "report": ("--no-training",),
    "export": ("--out", "{out}", "--force"),
}
WRITING = {
    "tune": ("--top", "1", "--trials", "2", "--seeds", "1", "--baselines", "cross_entropy", "--no-random-search"),
    "explain": ("--seeds", "1"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("strangers") / "run")


@pytest.fixture
def run(tmp_path, finished):
    return finished_run(tmp_path / "run").path


@pytest.fixture
def outside(tmp_path):
    """Return a folder with a file of each kind that a run has; nothing in it may be read or changed."""
    folder = tmp_path / "outside"
    for name in ("folder", "evaluations", "checkpoint"):
        (folder / name).mkdir(parents=True)
    (folder / "secret").write_text(SECRET)
    (folder / "folder" / "secret").write_text(SECRET)
    EvaluationStore(folder / "evaluations").append([evaluation("p", fitness=0.99)])
    return folder


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


class Watch:
    """Keeps the paths that were opened through links into a folder, or in it."""

    def __init__(self):
        self.folder, self.opened = None, []
        sys.addaudithook(self._note)

    def _note(self, event, arguments):
        if event == "open" and self.folder is not None and isinstance(arguments[0], str | bytes | os.PathLike):
            path, flags = os.path.realpath(os.fsdecode(arguments[0])), arguments[2]
            if path.startswith(self.folder) and not flags & os.O_NOFOLLOW:
                self.opened.append(path)


WATCH = Watch()


def call(outside, *words):
    """Call a command, and assert that it ends well and leaves what is outside alone."""
    before = tree(outside)
    WATCH.folder, WATCH.opened = str(outside), []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            result = CliRunner().invoke(app, list(map(str, words)))
    finally:
        WATCH.folder = None
    assert result.exception is None or isinstance(result.exception, SystemExit), (words, repr(result.exception))
    assert result.exit_code in (0, 1, 2), (words, result.stderr)
    assert result.exit_code == 0 or "error: " in result.stderr
    assert result.stderr.count("error: ") <= 1 + (words[0] == "leaderboard")
    assert all(character.isprintable() or character == "\n" for character in result.stderr)
    assert max(map(len, result.stderr.splitlines()), default=0) < 4_000
    assert WATCH.opened == []
    assert tree(outside) == before
    assert SECRET not in result.output
    return result


def read_by_every_command(run, outside):
    out = run.parent / "loss.py"
    for command, options in READING.items():
        call(outside, command, run, *(option.format(out=out) for option in options))
    for path in run.rglob("*.html"):
        assert path.is_symlink() or SECRET not in path.read_text()
    for function in (lambda: Leaderboard(run).write(), lambda: plot.pareto(run), lambda: plot.course(run)):
        with suppress(LossearchError, UserWarning, OSError):
            function()


def resumed(run, outside):
    experiment = run.parent / "experiment.toml"
    experiment.write_text(TOML)
    return call(outside, "search", experiment, "--run-dir", run, "--resume")


def put(path, make):
    """Put something in the place of a file or folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name("moved"))
    path.unlink(missing_ok=True)
    make(path)


def make_socket(path):
    before = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(before)


def make_sparse(path):
    with open(path, "wb") as file:
        file.truncate(2**41)


FILES = (
    *("log.jsonl", "experiment.toml", "workers.json", "checkpoint/state.json", "checkpoint/archive.jsonl"),
    *("evaluations/000009.parquet", "leaderboard.parquet", "best_loss.py", "report.html", ".report.html.writing"),
    *("checkpoint/.state.json.writing", "tuning/tuned.parquet", "verdict/verdicts.parquet"),
    *("observation/{best}/form.parquet", "explanation/{best}/form.parquet"),
)
FOLDERS = (
    *("evaluations", "checkpoint", "observation", "explanation", "tuning", "verdict", "random_search"),
    *("observation/{best}", "explanation/{best}"),
)
KINDS = {
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a directory": os.mkdir,
    "a file of 2 TiB": make_sparse,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a dangling link": lambda path: path.symlink_to("/nowhere/at/all"),
}


def place(run, name):
    return run / name.format(best=Leaderboard(run).rows[0].loss_id)


@pytest.mark.parametrize("file", long_unless(FILES, short=FILES[::3]))
def test_a_link_in_the_place_of_a_file_is_not_followed(file, run, outside):
    put(place(run, file), lambda path: path.symlink_to(outside / "secret"))
    read_by_every_command(run, outside)
    if file in ("log.jsonl", "checkpoint/archive.jsonl", "best_loss.py"):
        resumed(run, outside)


@pytest.mark.parametrize("folder", long_unless(FOLDERS, short=FOLDERS[::3]))
def test_a_link_in_the_place_of_a_folder_is_not_followed(folder, run, outside):
    target = outside / (folder if (outside / folder).is_dir() else "folder")
    put(place(run, folder), lambda path: path.symlink_to(target))
    read_by_every_command(run, outside)
    before = tree(outside)
    for write in (
        lambda file: write_whole_text(file, "x"),
        lambda file: replace_text(file, "x"),
        lambda file: append_text(file, "x"),
        lambda file: append_at(file, 0, b"x"),
        lambda file: make_folder(file.parent),
        lambda file: remove(file),
        lambda file: set_aside(file),
        lambda file: open_run_file(file, 100),
        lambda file: EvaluationStore(file.parent).append([evaluation()]),
    ):
        with pytest.raises(ForeignFile, match="a symbolic link"):
            write(place(run, folder) / "secret")
    assert tree(outside) == before


@pytest.mark.parametrize(
    ("folder", "command"),
    [("evaluations", "search"), ("checkpoint", "search"), ("tuning", "tune"), ("explanation", "explain")],
)
def test_a_command_names_the_link_that_it_would_write_through(folder, command, run, outside):
    (run / folder).rename(run / "moved") if (run / folder).exists() else None
    (run / folder).symlink_to(outside / "folder")
    result = resumed(run, outside) if command == "search" else call(outside, command, run, *WRITING[command])
    assert result.exit_code == 2
    assert f"{run / folder}: expected a folder in the run, got a symbolic link" in result.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "file", ["log.jsonl", "experiment.toml", "workers.json", "evaluations/000001.parquet", "checkpoint/state.json"]
)
def test_what_is_no_plausible_file_is_refused_at_once(file, kind, run, outside):
    put(run / file, KINDS[kind])
    start = time.process_time()
    result = call(outside, "status", run)
    assert time.process_time() - start < 5.0
    is_read = not file.startswith("checkpoint") and kind != "a dangling link"
    assert not is_read or file.split("/")[-1] in result.stderr
    call(outside, "leaderboard", run)


@pytest.mark.parametrize(
    ("file", "kind"),
    long_unless(
        [
            (file, kind)
            for file in ("log.jsonl", "evaluations/000001.parquet", "checkpoint/state.json")
            for kind in KINDS
        ],
        short=[("log.jsonl", "a pipe"), ("evaluations/000001.parquet", "a link to a device")],
    ),
)
def test_a_search_that_continues_waits_for_no_pipe_and_reads_no_device(file, kind, run, outside):
    put(run / file, KINDS[kind])
    if kind != "a file of 2 TiB":  # of which the tests would make a copy
        resumed(run, outside)
    call(outside, "report", run, "--no-training")


def test_a_log_with_a_second_name_outside_is_copied_before_it_grows(run, outside):
    log = outside / "log"
    os.link(run / "log.jsonl", log)
    before = log.read_bytes()
    assert resumed(run, outside).exit_code == 0
    assert log.read_bytes() == before
    assert (run / "log.jsonl").read_bytes().startswith(before)
    assert len((run / "log.jsonl").read_bytes()) > len(before)


FOREIGN = (
    "000001 (1).parquet",
    ".DS_Store",
    "Thumbs.db",
    "x.parquet.tmp",
    "1.parquet",
    "a\x1b[2J",
    "0" * 30 + ".parquet",
)


def test_foreign_files_are_left_alone_and_named_once(run, outside):
    for name in FOREIGN:
        (run / "evaluations" / name).write_bytes(b"foreign")
    (run / "evaluations" / "000123.parquet").mkdir()
    before = {path.name for path in (run / "evaluations").iterdir()}
    table = call(outside, "leaderboard", run)
    assert table.exit_code == 0
    (note,) = table.stderr.splitlines()
    assert "left alone" in note
    assert "000001 (1).parquet" in note
    for result in (call(outside, "status", run), resumed(run, outside)):
        assert result.exit_code == 0
        assert result.stderr.count("left alone") == 1
    assert {path.name for path in (run / "evaluations").iterdir()} == before
    read_by_every_command(run, outside)


def test_a_part_with_the_largest_number_hides_no_later_one(tmp_path):
    store = EvaluationStore(tmp_path)
    for number in (1, 10**15 - 1, 10**15, 10**18 - 1):
        store.write(number, [evaluation("ce(z)", seed=number % 97)])
    for seed in (100, 101):
        store.append([evaluation("ce(z)", seed=seed)])
    assert {record.seed for record in store.read()[0]} >= {100, 101}


def large_part(path, rows, **columns):
    """Write a part of a few megabytes with a record repeated in all rows."""
    record = evaluation("ce(z) + y", 0, 0.9)
    values = {field.name: getattr(record, field.name) for field in fields(Evaluation)} | columns
    writer = None
    for _ in range(30):
        table = pa.table(
            {
                name: pa.repeat(pa.scalar(list(value) if isinstance(value, tuple) else value), rows // 30)
                for name, value in values.items()
                if value is not None and name != "parents"
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    writer.close()


def test_a_small_part_with_many_rows_is_refused_by_its_metadata(run, outside):
    large_part(run / "evaluations" / "000999.parquet", 6_000_000)
    start = time.process_time()
    result = call(outside, "leaderboard", run)
    assert time.process_time() - start < 5.0
    assert result.exit_code == 1
    assert "6,000,000 rows, and" in result.stderr
    result = call(outside, "status", run)
    assert "6,000,000 rows" in result.stderr


def test_a_flipped_bit_in_a_part_is_found(tmp_path):
    store, path = EvaluationStore(tmp_path), tmp_path / "000001.parquet"
    written = [evaluation("ce(z)", seed, 0.5 + seed / 1000) for seed in range(200)]
    store.append(written)
    whole = path.read_bytes()
    silent = 0
    for place in range(4, len(whole), len(whole) // 150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        read, damages = store.read()
        silent += not damages and read != written
    assert silent <= 4  # in the headers of pages, which have no checksum


NESTED = "[" * 100_000
DECLARATIONS = {
    "nested": "a = " + "[" * 20_000 + "]" * 20_000,
    "a long number": 'name = "a"\ntask = "digits"\nseed = ' + "9" * 5_000,
    "nothing": "",
    "no text": "\udcff\udcfe",
    "another kind": 'name = "a"\ntask = "digits"\nlosses = ["mse"]',
    "dotted": "a" + ".a" * 400_000 + " = 1",
    "lists": "name = []\ntask = [1]\nevolution = []\ndata = 1",
    "escapes": 'name = "\\u001b[2J"\ntask = ["\\u202e"]\n[evolution]\ngenerations = 3',
}
STATES = {
    "nested": NESTED,
    "a list": "[]",
    "a long number": '{"version": 3, "evaluations": ' + "9" * 5_000 + "}",
    "infinite": '{"version": 3, "evaluations": 1e999, "evolution": [], "births": {}, "archive": {}, "progress": 1}',
    "deep inside": '{"version": 3, "evaluations": 0, "evolution": ' + "[" * 900 + "]" * 900 + "}",
    "a far extent": "extent",
}


@pytest.mark.parametrize("name", long_unless(list(DECLARATIONS), short=list(DECLARATIONS)[::3]))
def test_a_strange_declaration_is_refused_in_one_line(name, run, outside):
    (run / "experiment.toml").write_bytes(DECLARATIONS[name].encode(errors="surrogateescape"))
    read_by_every_command(run, outside)
    for command in ("tune", "explain"):
        call(outside, command, run, *WRITING[command])
    resumed(run, outside)


@pytest.mark.parametrize("name", long_unless(list(STATES), short=list(STATES)[::3]))
def test_a_strange_checkpoint_is_refused_in_one_line(name, run, outside):
    text = STATES[name]
    state = run / "checkpoint" / "state.json"
    if text == "extent":
        content = json.loads(state.read_text())
        content["archive"]["bytes"] = 2**60
        text = json.dumps(content)
    state.write_text(text)
    result = resumed(run, outside)
    assert result.exit_code == 2
    assert "checkpoint" in result.stderr
    assert (run / "checkpoint" / "archive.jsonl").stat().st_size < 2**20


@pytest.mark.parametrize(
    ("file", "limit"), [("workers.json", MAX_SUMMARY), ("checkpoint/state.json", MAX_STATE), ("log.jsonl", MAX_LOG)]
)
def test_json_that_would_fill_the_memory_is_refused_by_its_size(file, limit, run, outside):
    with open(run / file, "r+b") as opened:
        opened.truncate(limit + 1)
    result = resumed(run, outside) if file.startswith("checkpoint") else call(outside, "status", run)
    assert result.exit_code == 2
    assert f"{file.split('/')[-1]}: expected at most {limit:,} bytes, got {limit + 1:,}" in result.stderr


def test_a_line_of_megabytes_is_not_parsed(run, outside):
    archive, state = run / "checkpoint" / "archive.jsonl", run / "checkpoint" / "state.json"
    archive.write_text("[" + "[]," * 400_000 + "[]]\n")
    content = json.loads(state.read_text())
    content["archive"] = {"entries": 1, "bytes": archive.stat().st_size}
    state.write_text(json.dumps(content))
    result = resumed(run, outside)
    assert result.exit_code == 2
    assert "expected lines of at most 1,048,576 bytes" in result.stderr
    assert not _is_json(archive.read_bytes())


def test_a_long_formula_and_an_immense_factor_are_shown_in_short(tmp_path, outside):
    run = finished_run(tmp_path / "strange").path
    texts = ["ce(z)" + " + y" * 200_000, "ce(z) + y"]
    records = [
        evaluation(text, 0, 0.99, evaluation_id=f"x{place}", calibration=1.7e308, loss_id=f"x{place}")
        for place, text in enumerate(texts)
    ]
    EvaluationStore(run / "evaluations").append(records)
    assert len(call(outside, "status", run).stdout) < 10_000
    result = call(outside, "show", run, "x1")
    assert result.exit_code == 0
    assert result.stderr.count("Warning") == 0


def test_data_that_a_run_names_is_read_by_a_report_with_the_users_word_alone(run, outside):
    declaration = run / "experiment.toml"
    named = f'[data.theirs]\nfolder = "{outside}"\n'
    text = declaration.read_text().replace('task = "digits"', 'task = "theirs"')
    declaration.write_text(text + named)
    result = call(outside, "report", run)
    assert result.exit_code == 0
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("Not trained: ")]
    assert str(outside) in message
    assert "--own-data" in message
    assert call(outside, "status", run).exit_code == 0
    declared = CliRunner().invoke(app, ["tune", str(run), *WRITING["tune"]])
    assert [line for line in declared.stderr.splitlines() if "that is read now" in line and str(outside) in line]


def test_a_folder_of_evaluations_that_may_not_be_read_is_an_error(run, outside, monkeypatch):
    def refused(path="."):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    result = CliRunner().invoke(app, ["leaderboard", str(run)])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"error: {run / 'evaluations'}: expected a folder of records that can be read, got: Permission denied."
    ]


CELLS = {
    "=1+1": "'=1+1",
    "+cmd": "'+cmd",
    "@sum": "'@sum",
    "-log(p)": "'-log(p)",
    " =1": "' =1",
    "\t=1": "'\\t=1",
    "\uff1d1": "'\uff1d1",
    "-1.5e-3": "-1.5e-3",
    "a\x1b[2J\x07\r\u202e": "a\\x1b[2J\\x07\\r\\u202e",
    "a=b": "a=b",
}


@pytest.mark.parametrize(("text", "cell"), CELLS.items())
def test_a_cell_is_safe_to_print_and_to_open(text, cell, tmp_path):
    import csv

    EvaluationStore(tmp_path / "evaluations").append([evaluation("ce(z) + p", name=text, fitness=0.5)])
    result = CliRunner().invoke(app, ["leaderboard", str(tmp_path), "--csv"])
    head, row = csv.reader(result.stdout.splitlines())
    values = dict(zip(head, row, strict=True))
    assert values["name"] == cell
    assert values["fitness_mean"] == "0.5"


# Sources.

ROOT = Path(__file__).parent.parent.parent

#: Files that open or write what is no file of a run: declarations and data that a user names, this machine's.
OTHER_FILES = {
    "results/storage/atomic.py",
    "results/storage/run_files.py",
    "lossearch/runs/declaration.py",
    "lossearch/cli/completion.py",
    "lossearch/studies/tuner.py",  # a copy in a folder of its own
}


def test_files_of_a_run_are_opened_and_written_in_one_place():
    import ast

    methods = {"write_text", "write_bytes", "read_text", "read_bytes", "touch", "mkdir", "makedirs", "symlink_to"}
    for room in ("results", "lossearch"):
        for source in (ROOT / room).rglob("*.py"):
            name = source.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(source.read_text())):
                if name not in OTHER_FILES and isinstance(node, ast.Call):
                    called = ast.unparse(node.func)
                    assert called != "open", f"{name}:{node.lineno}"
                    assert called.split(".")[-1] not in methods, f"{name}:{node.lineno}"
