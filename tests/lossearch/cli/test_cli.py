import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import chdir, suppress

import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.evaluators.executors.executor import FinishedWork, InlineExecutor
from lossearch.evaluators.work import Result, failures
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.report.contents import gather_contents
from lossearch.results.report.page import render_page
from lossearch.results.storage.run_files import logged_events
from lossearch.runs import session as workers
from lossearch.runs.status import status
from tests.lossearch.small import TOML, records

COMMAND = [sys.executable, "-W", "error::SyntaxWarning", "-m", "lossearch"]


def lossearch(*arguments, cwd):
    """Run the command in this process: to start another takes seconds."""
    words = list(map(str, arguments))
    with chdir(cwd):
        result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


def started(*arguments, cwd):
    """Run the command in a process of its own, as a terminal does."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=1_800, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("work")
    (path / "small.toml").write_text(TOML)
    return path


@pytest.fixture(scope="module")
def finished(folder):
    return started("search", "small.toml", "--run-dir", "run", cwd=folder)


def test_a_search_prints_the_leaderboard_and_where_everything_is(finished):
    assert finished.returncode == 0, finished.stderr
    header, *rows = finished.stdout.splitlines()
    assert header.split() == ["rank", "accuracy", "to", "CE", "size", "born", "formula"]
    for seed in ("cross_entropy", "mse", "ngl", "am_softmax"):  # beside what evolved
        assert sum(f" {seed} " in row for row in rows) == 1
    assert any(" g1 " in row or " g2 " in row or " g3 " in row for row in rows)
    assert "generation 4 of 4: 24 trained" in finished.stderr
    assert "Run: run" in finished.stderr
    assert "Best loss: run/best_loss.py" in finished.stderr
    assert "Best loss, loaded from its file: accuracy" in finished.stderr
    assert "under 6 fresh seeds" in finished.stderr
    *_, tune, report, export = finished.stderr.splitlines()
    assert tune.startswith("Tune the best losses, then judge them:")
    assert tune.endswith("lossearch compare run")
    assert "lossearch tune run; " in tune
    assert report.endswith("lossearch report run")
    assert export.endswith("lossearch export run --out my_loss.py")
    assert "\x1b" not in finished.stdout + finished.stderr


def test_every_output_counts_the_candidates_alike(folder, finished):
    counts = Leaderboard(folder / "run").candidate_counts()
    assert counts.trained == 24
    assert f"Candidates: {counts.sentence()}." in finished.stderr
    last = next(line for line in finished.stderr.splitlines() if line.startswith("generation 4 of 4"))
    assert counts.sentence() in re.sub(r" \([\d.]+/s\)", "", last)
    assert f"candidates: {counts.sentence()}\n" in lossearch("status", "run", cwd=folder).stdout
    assert status(folder / "run").candidates == counts.named()
    (ended,) = [event for event in logged_events(folder / "run" / "log.jsonl") if event["event"] == "ended"]
    assert {name: ended[name] for name in counts.named()} == counts.named()
    page = render_page(gather_contents(folder / "run", top=0))
    shown = dict(re.findall(r"<div><dt>(\w+)</dt><dd>([\d,]+)</dd></div>", page))
    assert {name: int(count.replace(",", "")) for name, count in shown.items()} == counts.named()


def test_the_figure_to_trust_comes_before_the_one_that_chose_the_loss(folder, finished):
    trial = Leaderboard(folder / "run")[0].tested()
    assert finished.stderr.index(f"Best loss, loaded from its file: {trial}.") < finished.stderr.index("In the table")
    shown = lossearch("status", "run", cwd=folder).stdout
    assert 0 < shown.index(f": {trial}\n") < shown.index("best on the split that chose it")


def test_the_leaderboard_as_a_table_and_as_json(folder, finished):
    table = lossearch("leaderboard", "run", "--top", 3, cwd=folder)
    assert table.returncode == 0
    assert table.stderr == ""
    *lines, legend = table.stdout.splitlines()
    assert len(lines) in (4, 5)  # cross-entropy beside the best three
    assert legend.startswith("* is on the Pareto front")
    rows = json.loads(lossearch("leaderboard", "run", "--top", 3, "--json", cwd=folder).stdout)
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert {"loss_id", "formula", "complexity", "fitness_mean", "difference_to_cross_entropy"} <= rows[0].keys()


def test_the_leaderboard_is_filtered_and_printed_as_csv(folder, finished):
    chosen = ["--sort", "-complexity", "--where", "complexity<20", "--where", "birth!=known"]
    rows = json.loads(lossearch("leaderboard", "run", *chosen, "--json", cwd=folder).stdout)
    assert rows
    assert [row["complexity"] for row in rows] == sorted((row["complexity"] for row in rows), reverse=True)
    assert all(row["complexity"] < 20 and row["birth"] != "known" for row in rows)
    table = list(csv.DictReader(lossearch("leaderboard", "run", *chosen, "--csv", cwd=folder).stdout.splitlines()))
    assert [row["formula"] for row in table] == [row["formula"] for row in rows]
    front = json.loads(lossearch("leaderboard", "run", "--pareto", "--json", cwd=folder).stdout)
    assert [row["loss_id"] for row in front] == [entry.loss_id for entry in Leaderboard(folder / "run") if entry.pareto]
    shown = lossearch("leaderboard", "run", "--where", "name=mse", cwd=folder).stdout.splitlines()
    assert len(shown) == 2  # and cross-entropy not beside it
    refused = lossearch("leaderboard", "run", "--where", "complexit<20", cwd=folder)
    assert (refused.returncode, "did you mean complexity?" in refused.stderr) == (2, True)


def test_a_loss_is_shown_by_its_rank_its_id_and_its_name(folder, finished):
    board = Leaderboard(folder / "run")
    by_rank, by_id = (lossearch("show", "run", key, cwd=folder) for key in ("1", board[0].loss_id[:8]))
    assert by_rank.stdout == by_id.stdout
    assert by_rank.stdout.startswith(f"{board[0].loss_id}")
    assert f"rank 1: accuracy {board[0].fitness_mean:.4f}" in by_rank.stdout
    assert "fresh      accuracy" in by_rank.stdout
    assert by_rank.stdout.count("seed ") >= 2
    curves = [line for line in by_rank.stdout.splitlines() if "\N{LOWER ONE EIGHTH BLOCK}" in line]
    assert [line.split()[-1] for line in curves][-1] == "focal"
    assert json.loads(lossearch("show", "run", "mse", "--json", cwd=folder).stdout)["row"]["name"] == "mse"
    unknown = lossearch("show", "run", "nothing", cwd=folder)
    assert (unknown.returncode, "expected a rank up to" in unknown.stderr) == (2, True)


def test_a_loss_is_exported(folder, finished):
    result = lossearch("export", "run", "--rank", 2, "--out", "second.py", cwd=folder)
    assert (result.returncode, result.stdout.strip()) == (0, "second.py")
    assert Leaderboard(folder / "run")[1].loss_id in (folder / "second.py").read_text()
    again = lossearch("export", "run", "--rank", 2, "--out", "second.py", cwd=folder)
    assert again.returncode == 2
    assert "second.py: exists already" in again.stderr
    assert lossearch("export", "run", "--out", "second.py", "--force", cwd=folder).returncode == 0


def test_a_loss_of_a_run_is_exported_with_its_card(folder, finished):
    result = lossearch("export", "run", "--out", "best.py", "--card", cwd=folder)
    assert (result.returncode, result.stdout.split()) == (0, ["best.py", "best.py.md"])
    card = (folder / "best.py.md").read_text()
    assert Leaderboard(folder / "run")[0].loss_id in card
    for fact in (
        "95 % interval",
        "seeds that the search did not use",
        "| `ngl` |",
        "The loss was chosen from",
        "known failures",
    ):
        assert fact in card
    again = lossearch("export", "run", "--out", "other.py", "--card", cwd=folder)
    assert again.returncode == 0
    (folder / "kept.py.md").write_text("mine")
    refused = lossearch("export", "run", "--out", "kept.py", "--card", cwd=folder)
    assert refused.returncode == 2
    assert "kept.py.md: exists already" in refused.stderr
    assert (folder / "kept.py.md").read_text() == "mine"


@pytest.mark.long
def test_known_losses_and_formulas_are_exported_in_every_format(folder):
    assert started("export", "arcface", "--set", "m=0.3", "--out", "arc.py", cwd=folder).returncode == 0
    assert "m: float = 0.3," in (folder / "arc.py").read_text()
    formula = "ce(z) + e*mean_c(p**2)"
    assert (
        started("export", formula, "--set", "e=0.1", "--out", "own.pt2", "--num-classes", 4, cwd=folder).returncode == 0
    )
    assert (folder / "own.pt2").stat().st_size > 1_000
    onnx = started("export", "cosface", "--out", "x.onnx", "--num-classes", 4, "--embedding-size", 3, cwd=folder)
    assert (onnx.returncode, onnx.stdout.strip()) == (0, "x.onnx")
    assert (
        onnx.stderr == "note: The class weights of the graph are random: train a module of the loss, and export it.\n"
    )


def test_losses_and_tasks_are_listed(folder):
    listed = json.loads(lossearch("losses", "--json", cwd=folder).stdout)
    assert {"name", "formula", "hyperparameters", "class_weights", "source", "origin", "aliases"} == listed[0].keys()
    (cross_entropy,) = [entry for entry in listed if entry["name"] == "cross_entropy"]
    assert cross_entropy["formula"] == "ce(z)"
    shown = lossearch("losses", "focal", cwd=folder).stdout
    assert "gamma = 2, between 0 and 5" in shown
    assert "Lin et al." in shown
    tasks = json.loads(lossearch("tasks", "--json", cwd=folder).stdout)
    assert {"name", "family", "classes", "needs_download"} <= tasks[0].keys()
    assert "digits_noisy" in lossearch("tasks", cwd=folder).stdout


def test_the_plan_lists_rungs_and_starting_formulas(folder):
    text = TOML.replace("steps = 12", "steps = 12\nrungs = [2, 5]").replace('"ngl"', '"ce(z) + 0.1*mean_c(p)"')
    (folder / "rungs.toml").write_text(text)
    result = lossearch("search", "rungs.toml", "--dry-run", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "rungs after 2, 5 steps: the best one in 3 goes on each time" in result.stdout
    assert "ce(z) + 0.1*mean_c(p)" in result.stdout


def test_a_dry_run_shows_the_plan_and_writes_nothing(folder):
    before = sorted(folder.iterdir())
    result = lossearch("search", "small.toml", "--dry-run", cwd=folder)
    assert result.returncode == 0
    assert "4 generations of 6 candidates, 2 seeds each: up to 48 trainings of 12 steps" in result.stdout
    assert sorted(folder.iterdir()) == before


def test_a_shipped_experiment_is_shown(folder):
    shown = lossearch("search", "digits", "--show", cwd=folder)
    assert shown.returncode == 0
    assert 'name = "digits"' in shown.stdout


def test_help_names_the_commands_and_the_exit_codes(folder):
    shown = lossearch("--help", cwd=folder).stdout
    for word in ("search", "leaderboard", "losses", "export", "tasks", "130 interrupted"):
        assert word in shown


MISTAKES = [
    (["search", "smal.toml"], "smal.toml: no such file"),
    (["search", "small.toml", "--run-dir", "run", "--seed", "4"], "seed was 3, is 4"),
    (["search", "small.toml", "--run-dir", "run"], "Continue it with --resume"),
    (["search", "small.toml", "--resume"], "--resume: expected --run-dir"),
    (["search", "small.toml", "--run-dir", "small.toml/x"], "expected a directory that can be written"),
    (["search", "small.toml", "--ray-address", "nowhere"], "Expected a Ray address like"),
    (["search", "small.toml", "--seed", "-1"], "error: --seed: expected greater than or equal to 0, got -1"),
    (["leaderboard", "nothing"], "nothing: expected the directory of a run, got no such directory"),
    (["status", "nothing"], "nothing: expected the directory of a run, got no such directory"),
    (["report", "nothing"], "nothing: expected the directory of a run, got no such directory"),
    (["losses", "fokal"], "Unknown loss 'fokal'; did you mean focal"),
    (["export", "run", "--rank", "9999", "--out", "x.py"], "--rank: expected 1 to"),
    (["export", "run", "--out", "no/such/x.py"], "Expected a path in a directory that exists, got"),
    (
        ["export", "nothing", "--out", "x.py"],
        "'nothing': expected the directory of a run, the name of a known loss or a formula",
    ),
    (["export", "arcfac", "--out", "x.py"], "did you mean arcface"),
    (["export", "ce(z", "--out", "x.py"], "Position 4 of the formula"),
    (["export", "focal", "--out", "x.txt"], "Expected a path that ends in .py, .onnx, .pt2"),
    (["export", "focal", "--out", "x.py", "--format", "pyy"], "Unknown --format 'pyy'; did you mean py"),
    (["export", "focal", "--out", "x.pt2"], "Expected --num-classes for the format pt2"),
    (["export", "arcface", "--out", "x.pt2"], "Expected --num-classes and --embedding-size"),
    (
        ["export", "focal", "--out", "x.py", "--set", "gama=2"],
        "focal has no hyper-parameter 'gama'; did you mean gamma",
    ),
    (["export", "focal", "--out", "x.py", "--set", "gamma=99"], "Expected gamma between 0 and 5, got 99"),
    (["export", "pedcc", "--out", "x.py", "--set", "num_classes=8"], "--set: expected the name of a hyper-parameter"),
    (["export", "focal", "--out", "x.py", "--set", "gamma"], "--set: expected NAME=VALUE with a number, got 'gamma'"),
    (["export", "run", "--out", "x.py", "--set", "qq=2"], "The loss has no hyper-parameter 'qq'"),
    (
        ["export", "runs/gone", "--out", "x.py"],
        "runs/gone: expected the directory of a run; there is none of that name",
    ),
    (["export", "", "--out", "x.py"], "'': expected the directory of a run, the name of a known loss or a formula"),
    (["export", "focal", "--out", "x.py", "--rank", "2"], "--rank: expected the directory of a run with it"),
    (["export", "focal", "--out", "x.py", "--num-classes", "2"], "Expected --num-classes for a graph alone"),
    (["export", "focal", "--out", "x.py", "--format", "onnx"], "Expected a path that ends in .onnx, as the format"),
    (["export", "focal", "--out", "x.pt2", "--num-classes", "2", "--prior", "a,b"], "--prior: expected numbers"),
    (
        ["export", "logit_adjustment", "--out", "x.pt2", "--num-classes", "2", "--prior", "7,2"],
        "Expected --prior, class frequencies [classes] that sum to 1, none below 0, got 2 numbers that sum to 9",
    ),
    (
        ["export", "logit_adjustment", "--out", "x.pt2", "--num-classes", "3", "--prior", "0.7,0.3"],
        "Expected --prior of shape [3], one number for each class, got [2]",
    ),
    (["export", "focal", "--out", "x.py", "--set", "label_smoothing=5"], "--set: expected the name of a hyper-param"),
    (
        ["export", "focal", "--out", "x.py", "--set", "gamma=1", "--set", "gamma=2"],
        "expected each hyper-parameter once",
    ),
    (["export", "focal", "--out", "x.py", "--no-calibrated"], "Expected --no-calibrated with an entry"),
    (["export", "am_softmax", "--out", "x.pt2", "--num-classes", "9"], "Expected --embedding-size: the formula looks"),
    (["export", "focal", "--out", "x.pt2"], "Expected --num-classes for the format pt2"),
    (["export", "logit_adjustment", "--out", "x.pt2", "--num-classes", "3"], "Expected --prior"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
@pytest.mark.usefixtures("finished")
def test_a_mistake_gets_one_clear_message_and_exit_code_2(folder, arguments, message):
    result = lossearch(*arguments, cwd=folder)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_a_cluster_that_does_not_answer_is_a_failure_and_leaves_no_directory(folder):
    result = started("search", "small.toml", "--ray-address", "127.0.0.1:1", "--run-dir", "unborn", cwd=folder)
    assert result.returncode == 1
    assert "No Ray cluster answered at '127.0.0.1:1'" in result.stderr
    assert not (folder / "unborn").exists()


def test_a_damaged_part_is_named_and_the_rest_is_shown(folder):
    assert lossearch("search", "small.toml", "--run-dir", "torn", cwd=folder).returncode == 0
    part = max((folder / "torn" / "evaluations").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:60])
    result = lossearch("leaderboard", "torn", cwd=folder)
    assert result.returncode == 1
    assert f"{part.name}: expected a whole Parquet file" in result.stderr
    assert "cross_entropy" in result.stdout
    export = lossearch("export", "torn", "--out", "torn.py", cwd=folder)
    assert export.returncode == 1
    assert part.name in export.stderr
    assert not (folder / "torn.py").exists()


def test_a_mistake_ends_a_process_with_exit_code_2_and_one_line(folder):
    result = started("leaderboard", "nothing", cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == lossearch("leaderboard", "nothing", cwd=folder).stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["losses"], ["leaderboard", "run", "--json"], ["search", "digits", "--show"]])
@pytest.mark.usefixtures("finished")
def test_a_reader_that_closes_early_is_no_error(folder, arguments):
    words = [*COMMAND, *arguments]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(600) == 0


def test_the_version_is_printed(folder):
    from importlib.metadata import version

    assert started("--version", cwd=folder).stdout.strip() == version("lossearch")


class Hopeless(InlineExecutor):
    def submit(self, work, states=()):
        return FinishedWork(work, Result(failures(work, "diverged")))


def test_a_search_without_a_valid_candidate_ends_with_exit_code_3(folder, monkeypatch):
    monkeypatch.setattr(workers, "InlineExecutor", Hopeless)
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["search", "small.toml", "--run-dir", "hopeless"])
    assert result.exit_code == 3, result.output
    assert "No candidate was evaluated" in result.output
    assert {row.reason for row in Leaderboard("hopeless").rows if row.status == "failed"} == {"diverged"}


def stopped(folder, run, executor, event, number):
    """Search until an event is logged, and send the processes a signal. Return the exit code and the messages."""
    words = [*COMMAND, "search", "small.toml", "--run-dir", run, "--executor", executor]
    heeding = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    words = [sys.executable, "-c", heeding, *words]  # the tests may run under nohup
    process = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)
    log = folder / run / "log.jsonl"
    while process.poll() is None and not (log.exists() and f'"event": "{event}"' in log.read_text()):
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)  # as the terminal does, or a scheduler
    _, messages = process.communicate(timeout=1_800)
    return process.returncode, messages


@pytest.mark.parametrize(
    ("executor", "event", "number"),
    [
        ("inline", "started", signal.SIGINT),
        pytest.param("inline", "generation", signal.SIGTERM, marks=pytest.mark.long),
        pytest.param("inline", "generation", signal.SIGHUP, marks=pytest.mark.long),
        pytest.param("ray", "started", signal.SIGINT, marks=pytest.mark.long),
    ],
)
@pytest.mark.usefixtures("finished")
def test_the_printed_command_continues_a_stopped_run(folder, executor, event, number):
    for attempt in range(20):
        run = f"stopped-{executor}-{event}-{number.name}-{attempt}"
        code, messages = stopped(folder, run, executor, event, number)
        if code != 0:  # else, on a machine that is busy, the search was through before the signal came
            break
    assert code == 130, messages
    printed = messages.strip().splitlines()[-1].split()
    called, again = printed[: printed.index("search")], printed[printed.index("search") :]
    assert called in (["lossearch"], ["python", "-m", "lossearch"])
    assert again[:2] == ["search", "small.toml"]
    assert {"--resume", "--run-dir"} <= set(printed)
    resumed = started(*again, cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert records(folder / run) == records(folder / "run")
