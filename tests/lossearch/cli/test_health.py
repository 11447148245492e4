import json
import time
from collections import namedtuple

import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.engine.launch import SearchInterrupted, search
from lossearch.evaluators.data import torchvision_data
from lossearch.evaluators.executors import ray_cluster
from lossearch.runs import doctor
from lossearch.runs import session as workers
from lossearch.runs.directory import RunDirectory, RunDirectoryError
from lossearch.runs.status import speed, status
from lossearch.runs.timing import Stopwatch
from tests.evaluators.small_images import write_folder
from tests.lossearch.small import SMALL, Interrupting, finished_run, run_search


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("runs") / "finished")


def test_the_status_of_a_finished_run(finished):
    health = status(finished.path)
    best = finished.leaderboard.rows[0]
    assert (health.state, health.generation, health.generations) == ("finished", 4, 4)
    assert (health.best_formula, health.best_fitness) == (best.formula, best.fitness_mean)
    assert health.candidates["evaluated"] == sum(row.rank is not None for row in finished.leaderboard.rows)
    assert health.seconds.keys() == {"breeding", "waiting for trainings", "selecting", "recording"}
    assert all(spent >= 0.0 for spent in health.seconds.values())


def test_the_time_of_this_process_is_shared_out(finished):
    (alone,) = status(finished.path).workers.items()
    assert alone[0] == "this process"
    assert alone[1].trainings == status(finished.path).trainings
    assert alone[1].seconds.keys() == {"loading", "compiling", "training", "idle"}
    assert alone[1].per_minute > 0.0


@pytest.mark.long
@pytest.mark.xdist_group("ray")
@pytest.mark.usefixtures("shared_ray")
def test_time_is_shared_out_by_worker(tmp_path):
    run = search(SMALL, run_dir=tmp_path / "ray", executor="ray")
    workers = status(run.path).workers
    assert sum(worker.trainings for worker in workers.values()) == status(run.path).trainings
    assert all(":" in name for name in workers)  # host and process


def test_interrupted_and_killed_runs_have_different_states(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "InlineExecutor", lambda device: Interrupting(5))
    with pytest.raises(SearchInterrupted):
        run_search(tmp_path / "run")
    assert status(tmp_path / "run").state == "interrupted"
    log = tmp_path / "run" / "log.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[:-1]) + '\n{"event": "gener')  # killed while it wrote
    assert status(tmp_path / "run").state == "stopped"


def test_a_run_that_somebody_writes_to_is_running(finished):
    run = RunDirectory.open(finished.path, SMALL)
    try:
        assert status(finished.path).state == "running"
    finally:
        run.close()
    assert status(finished.path).state == "finished"


def test_status_does_not_lock_the_run(finished):
    status(finished.path)
    search(SMALL, run_dir=finished.path, resume=True)


def test_the_command_shows_the_status_as_text_and_json(finished):
    shown = CliRunner().invoke(app, ["status", str(finished.path)])
    assert shown.exit_code == 0
    assert "small: finished, generation 4 of 4" in shown.stdout
    assert "driver: " in shown.stdout
    printed = json.loads(CliRunner().invoke(app, ["status", str(finished.path), "--json"]).stdout)
    assert printed == status(finished.path).to_dict()


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"experiment\.toml"):
        status(tmp_path)
    assert CliRunner().invoke(app, ["status", str(tmp_path)]).exit_code == 2


def test_a_strangers_log_is_only_data(finished, tmp_path):
    import shutil

    path = tmp_path / "run"
    shutil.copytree(finished.path, path)
    for seconds in (["\x1b[2J"], {"\x1b[2J": "x", "a": None, "b": float("nan"), "c": 10**400}):
        workers = {"\x1b[2J": {"trainings": float("nan"), "per_minute": "\x1b[2J", "seconds": seconds}, "b": seconds}
        (path / "workers.json").write_text(json.dumps({"seconds": seconds, "workers": workers}))
        hostile = {"event": "generation", "number": "9" * 50, "seconds": seconds}
        with open(path / "log.jsonl", "a") as log:
            log.write(json.dumps(hostile) + "\n[1]\n" + "[" * 100_000 + "\n")
        assert (status(path).generation, status(path).seconds) == (4, {})
        assert "\x1b" not in CliRunner().invoke(app, ["status", str(path)]).stdout
    for none in ("", "[1]", "[" * 100_000, '{"workers": {'):
        (path / "workers.json").write_text(none)
        assert (status(path).workers, status(path).seconds) == ({}, {})


def test_time_within_something_else_counts_there_alone(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 10.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    watch = Stopwatch()
    with watch.doing("outer"), watch.doing("inner"):
        pass
    assert watch.rounded() == {"outer": 8.0, "inner": 2.0}


def test_a_healthy_machine_has_no_problem(tmp_path, monkeypatch):
    node = {"name": "here", "cores": "2", **doctor_versions()}
    monkeypatch.setattr(ray_cluster, "about_nodes", lambda address: [node])
    monkeypatch.setattr(torchvision_data, "SYSTEM", tmp_path)  # some systems have packages of published data
    checks = list(doctor.examine(tmp_path / "not" / "there" / "yet"))
    assert [check.what for check in checks] == [
        *("python", "packages", "torch", "run directory", "data", "shared memory", "ray", "node here")
    ]
    assert "problem" not in {check.state for check in checks}
    assert not (tmp_path / "not").exists()


def doctor_versions():
    from lossearch.evaluators.versions import versions

    return versions()


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({**doctor_versions(), "ray": "1.0"}, "ray 1.0, here "),
        ({"error": "No module named 'evaluators'"}, "No module named"),
        ({**doctor_versions(), "lossearch": "missing"}, "lossearch missing, here "),
    ],
)
def test_a_node_that_differs_is_a_problem_with_advice(tmp_path, monkeypatch, node, message):
    monkeypatch.setattr(ray_cluster, "about_nodes", lambda address: [{"name": "other", "cores": "4", **node}])
    result = CliRunner().invoke(app, ["doctor", "--run-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert message in result.stdout
    assert "every node" in result.stdout or "this node" in result.stdout


def test_a_full_disk_and_an_unwritable_directory_are_problems(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10, 10, 0))
    (low,) = doctor._check_writable("run directory", tmp_path)
    assert (low.state, low.advice) == ("warning", "Make room: a long search needs 2 GiB.")

    def refuse(**place):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    (refused,) = doctor._check_writable("run directory", tmp_path)
    assert (refused.state, "Read-only file system" in refused.found) == ("problem", True)


def test_data_that_cannot_be_written_has_an_advice_of_its_own(tmp_path, monkeypatch):
    def refuse(**place):
        raise OSError(13, "Permission denied")

    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path))
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    (refused,) = doctor._check_data()
    assert refused.advice == "Set the environment variable LOSSEARCH_DATA to a directory that can be written."


def test_an_experiment_is_checked_with_its_data_networks_and_device(tmp_path, monkeypatch):
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "home"))
    write_folder(tmp_path / "photos", ("cats", "dogs"), each=8)
    file = tmp_path / "pets.toml"
    declared = f'name = "pets"\ntask = "pets"\n[data.pets]\nfolder = "{tmp_path}/photos"\n[executor]\nkind = "inline"\n'
    file.write_text(declared)
    result = CliRunner().invoke(app, ["doctor", str(file), "--run-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "task pets: 2 classes, inputs of 3x32x32; 16 images" in result.stdout
    assert "network on pets: " in result.stdout
    assert "ray: not needed" in result.stdout
    assert f"search {file} --dry-run" in result.stderr
    assert not (tmp_path / "home").exists()  # nothing is decoded
    file.write_text(declared.replace("photos", "phots"))
    result = CliRunner().invoke(app, ["doctor", str(file), "--ray-address", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert "phots, got nothing. Correct the path" in result.stdout
    assert f"doctor {file} --ray-address" in result.stderr.partition("check again: ")[2]


def test_missing_published_data_and_an_unknown_tracker_are_problems(tmp_path, monkeypatch):
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(ray_cluster, "about_nodes", lambda address: [])
    (tmp_path / "faces.toml").write_text('name = "faces"\ntask = "raf_db"\n')
    words = ["doctor", str(tmp_path / "faces.toml"), "--track", "mlfow", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    problems = {check["what"]: check["found"] for check in json.loads(result.stdout) if check["state"] == "problem"}
    assert "The data of the task raf_db is not in" in problems["task raf_db"]
    assert "did you mean mlflow" in problems["tracker mlfow"]


def test_an_address_without_an_answer_is_named_at_once(tmp_path):
    started = time.monotonic()
    result = CliRunner().invoke(app, ["doctor", "--ray-address", "127.0.0.1:1", "--run-dir", str(tmp_path), "--json"])
    assert result.exit_code == 1
    assert time.monotonic() - started < 600.0  # Ray itself would try for longer
    (ray,) = [check for check in json.loads(result.stdout) if check["what"] == "ray"]
    assert "No Ray cluster answered at '127.0.0.1:1'" in ray["found"]


@pytest.mark.xdist_group("ray")
@pytest.mark.usefixtures("no_ray")
def test_a_cluster_on_this_machine_reports_its_node():
    (node,) = ray_cluster.about_nodes(None)
    assert doctor._check_node(node).state == "ok"


def test_the_speed_is_reported_after_enough_time():
    def at(*seconds):
        return [f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000+00:00" for second in seconds]

    assert speed(at(0, 10, 20, 30)) == 6.0
    assert speed(at(0, 400, 430)) == 2.0  # of the last five minutes alone
    assert speed(at(0, 0, 0, 1)) is None  # a cohort, whose trainings end at once
    assert speed([]) is None
    assert speed(["yesterday"]) is None
