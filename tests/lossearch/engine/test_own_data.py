import json

import numpy as np
import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.engine.launch import search
from lossearch.evaluators.tasks.task import image_training
from lossearch.primitives.errors import UserError
from lossearch.runs.declaration import ExperimentError
from lossearch.runs.experiment import load_experiment, validated
from lossearch.studies.compare import compare
from lossearch.studies.comparison import ComparisonDirectory, load_comparison
from tests.evaluators.small_images import write_folder

FOUR_LINES = """
task = "pets"
[data.pets]
folder = "{folder}"
size = 8
"""


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "photos", ("cats", "dogs", "owls"), each=12)


def lossearch(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def test_a_folder_of_images_is_a_task_in_four_lines(folder, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"' + FOUR_LINES.format(folder=folder) + "[fidelity]\nsteps = 4\n"
        '[evolution]\npopulation = 3\ngenerations = 1\nseeds = ["cross_entropy", "mse"]\n[executor]\nkind = "inline"\n'
    )
    declared = load_experiment(str(path))
    assert (declared.fidelity.network, declared.task_named("pets").classes) == (image_training().network, 3)
    run = search(declared, run_dir=tmp_path / "run")
    assert {row.task for row in run.leaderboard.rows} == {"pets"}
    assert run.leaderboard.rows[0].rank == 1


@pytest.fixture
def arrays(tmp_path):
    inputs = np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32)
    np.savez(tmp_path / "pets.npz", inputs=inputs, targets=np.arange(48) % 3)
    return tmp_path / "pets.npz"


def test_a_file_of_arrays_is_a_task_in_three_lines(arrays, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntask = "pets"\n[data.pets]\narrays = "pets.npz"\n[fidelity]\nsteps = 4\n'
        '[evolution]\npopulation = 3\ngenerations = 1\nseeds = ["cross_entropy", "mse"]\n'
    )
    declared = load_experiment(str(path))
    assert (declared.fidelity.network, declared.task_named("pets").classes) == ("mlp", 3)
    run = search(declared, run_dir=tmp_path / "run", executor="inline")
    assert {row.task for row in run.leaderboard.rows} == {"pets"}
    assert str(arrays) in (tmp_path / "run" / "experiment.toml").read_text()


def test_the_command_takes_a_file_of_arrays_for_a_task(arrays, tmp_path):
    words = ["compare", "--task", arrays, "--losses", "mse", "--seeds", 2, "--steps", 3, "--executor", "inline"]
    result = lossearch(*words, "--run-dir", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.stderr
    assert {line["task"] for line in json.loads(result.stdout)} == {"pets"}
    refused = lossearch("compare", "--task", tmp_path / "run" / "log.jsonl", "--losses", "mse")
    assert refused.exit_code == 2
    assert "numpy.savez" in refused.stderr


def test_a_run_on_a_folder_is_resumed_from_anywhere(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = {"name": "mine", "tasks": ["pets"], "losses": ["mse"], "seeds": 2, "fidelity": {"steps": 3}}
    path = tmp_path / "mine.toml"
    path.write_text('name="x"\ntasks=["pets"]\nlosses=["mse"]\n[data.pets]\nfolder="photos"\nsize=8\n')
    done = compare(str(path), run_dir=tmp_path / "run", executor="inline", **keys)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = compare(ComparisonDirectory.recorded(done.path), run_dir=done.path, resume=True, executor="inline")
    assert again.table.lines == done.table.lines


def test_the_command_takes_a_folder_for_a_task(folder, tmp_path):
    words = ["compare", "--task", folder, "--losses", "mse", "--seeds", 2, "--steps", 3, "--executor", "inline"]
    result = lossearch(*words, "--run-dir", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.stderr
    lines = json.loads(result.stdout)
    assert {line["task"] for line in lines} == {"photos"}
    assert "fewer than 6 seeds" in result.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"pets": {"folder": "/nowhere/at/all"}}}, "nowhere"),
        ({"data": {"pets": {"arrays": "/nowhere/at/all.npz"}}}, "got no file /nowhere/at/all.npz"),
        ({"data": {"pets": {"arrays": "x", "sise": 8}}}, "data.pets.sise: unknown key; known: arrays, verification"),
        ({"data": {"pets": {"arrays": 3}}}, "data.pets.arrays: expected string, got 3"),
        ({"data": {"pets": {}}}, "data.pets.folder: expected a value, got none"),
        ({"data": {"pets": {"folder": "x", "sise": 8}}}, "data.pets.sise: unknown key.*size"),
        ({"data": {"dogs": {"folder": "x"}}}, "data: dogs is not among the tasks"),
        ({"data": 3}, "expected tables"),
        ({"data": {}}, "Unknown task 'pets'"),
    ],
)
def test_unusable_data_is_refused(changes, message):
    with pytest.raises(ExperimentError, match=message):
        validated({"name": "mine", "task": "pets", **changes}, "mine.toml")


def test_own_data_cannot_take_the_name_of_a_known_task(folder):
    with pytest.raises(ExperimentError, match="digits is the name of a known task"):
        validated({"name": "mine", "task": "digits", "data": {"digits": {"folder": str(folder), "size": 8}}}, "x")


def test_data_with_one_class_is_refused_before_anything_is_written(tmp_path):
    folder = write_folder(tmp_path / "one", ("cats",))
    result = lossearch("compare", "--task", folder, "--losses", "mse", "--run-dir", tmp_path / "run")
    assert result.exit_code == 2
    assert "class" in result.stderr
    assert not (tmp_path / "run").exists()


def test_broken_files_are_counted_in_a_message(folder, tmp_path):
    (folder / "cats" / "broken.png").write_bytes(b"no image")
    path = tmp_path / "mine.toml"
    text = f'name="x"\ntasks=["pets"]\nlosses=["mse"]\nseeds=1\n[data.pets]\nfolder="{folder}"\nsize=8\n'
    path.write_text(text)
    declared = load_comparison(str(path), fidelity={"steps": 2})
    with pytest.warns(UserWarning, match="were skipped: 1, such as cats/broken.png"):
        compare(declared, run_dir=tmp_path / "run", executor="inline")
    path.write_text(text + 'broken="refuse"\n')
    with pytest.raises(UserError, match="got broken files: 1"):
        compare(str(path), run_dir=tmp_path / "refused", executor="inline")


def test_missing_data_names_the_command_or_page_and_writes_nothing(tmp_path):
    for task, said in (("cifar10", "lossearch download cifar10"), ("raf_db", "http")):
        result = lossearch("compare", "--task", task, "--losses", "mse", "--run-dir", tmp_path / "run")
        assert result.exit_code == 2, result.stderr
        assert said in result.stderr
        assert not (tmp_path / "run").exists()
    refused = lossearch("download", "digits")
    assert refused.exit_code == 2
    assert "needs no download" in refused.stderr
    assert lossearch("download", "raf_db").exit_code == 2


def test_tasks_name_the_source_of_their_data():
    listed = lossearch("tasks").stdout
    assert "cifar10" in listed
    assert "data: lossearch download cifar10" in listed
    rows = {row["name"]: row for row in json.loads(lossearch("tasks", "--json").stdout)}
    assert (rows["digits"]["needs_download"], rows["cifar10"]["needs_download"]) == (False, True)
