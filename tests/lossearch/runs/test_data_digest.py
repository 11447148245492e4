"""A run is what was read: it records a digest of a user's own data, and goes on only with the same data."""

import tomllib

import numpy as np
import pytest

from lossearch.evaluators.tasks import registry
from lossearch.runs.directory import RunDirectory, RunDirectoryError
from lossearch.runs.experiment import load_experiment
from lossearch.runs.status import status
from lossearch.studies.comparison import ComparisonDirectory, load_comparison
from lossearch.studies.verdict import verdict
from tests.evaluators.small_images import write_folder, write_image

TOML = """name = "own"
task = "own"
[data.own]
arrays = "{}"
[fidelity]
steps = 5
"""


def write_arrays(path, count=40, seed=0):
    inputs = np.random.default_rng(seed).normal(size=(count, 3))
    np.savez(path, inputs=inputs, targets=np.arange(count) % 4)
    return path


def declared(tmp_path, data):
    file = tmp_path / "own.toml"
    file.write_text(TOML.format(data))
    return load_experiment(str(file))


@pytest.fixture
def run(tmp_path):
    """Return the directory of a run that has begun on own.npz."""
    directory = RunDirectory.create(declared(tmp_path, write_arrays(tmp_path / "own.npz")), tmp_path / "run")
    directory.close()
    return directory.path


def resume(run, experiment):
    RunDirectory.open(run, experiment).close()


def test_a_run_records_what_it_read(run):
    with open(run / "experiment.toml", "rb") as file:
        facts = tomllib.load(file)["provenance"]["data"]["own"]
    assert len(facts.pop("digest")) == 32
    assert facts == {"train": 20, "validation": 12, "test": 8}


def test_a_resumed_run_refuses_changed_data(tmp_path, run):
    resume(run, declared(tmp_path, tmp_path / "own.npz"))
    write_arrays(tmp_path / "own.npz", count=48)
    with pytest.raises(RunDirectoryError, match=r"own was 40 samples \(20/12/8\) with digest \w+... and is 48 samples"):
        resume(run, declared(tmp_path, tmp_path / "own.npz"))
    write_arrays(tmp_path / "own.npz", seed=1)
    with pytest.raises(
        RunDirectoryError, match=r"run: the data of own .* Resume with the data that made it"
    ) as refused:
        RunDirectory.open(run, declared(tmp_path, tmp_path / "own.npz"), force=True)
    assert "\n" not in str(refused.value)
    with pytest.raises(RunDirectoryError, match="the data of own was"):
        RunDirectory.require_data(run)
    with pytest.raises(RunDirectoryError, match="the data of own was"):
        verdict(run)
    write_arrays(tmp_path / "own.npz")
    resume(run, declared(tmp_path, tmp_path / "own.npz"))


def test_data_may_move_but_not_change(tmp_path, run):
    (tmp_path / "own.npz").rename(tmp_path / "moved.npz")
    resume(run, declared(tmp_path, tmp_path / "moved.npz"))
    assert RunDirectory.recorded(run).data["own"].arrays == str(tmp_path / "moved.npz")
    write_arrays(tmp_path / "other.npz", seed=1)
    with pytest.raises(RunDirectoryError, match="the data of own was"):
        resume(run, declared(tmp_path, tmp_path / "other.npz"))


def test_a_run_is_shown_without_its_data_and_a_study_says_how_to_give_it(tmp_path, run):
    registry.refresh_own_tasks()
    (tmp_path / "own.npz").unlink()
    assert status(run).tasks == ["own"]
    with pytest.raises(RunDirectoryError, match=r"no file .*own.npz.* has moved, write its path into \[data.TASK\] of"):
        RunDirectory.require_data(run)
    with pytest.raises(RunDirectoryError, match="has moved"):
        verdict(run)


def test_a_run_of_an_older_version_has_no_digest_and_goes_on(tmp_path, run):
    file = run / "experiment.toml"
    file.write_text(file.read_text().split("[provenance.data")[0])
    write_arrays(tmp_path / "own.npz", seed=1)
    resume(run, declared(tmp_path, tmp_path / "own.npz"))


def test_a_folder_that_grew_is_other_data(tmp_path, monkeypatch):
    write_folder(tmp_path / "pets")
    file = tmp_path / "pets.toml"
    file.write_text('name = "a"\ntasks = ["pets"]\nlosses = ["mse"]\n[data.pets]\nfolder = "pets"\nsize = 8\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "home"))
    ComparisonDirectory.create(load_comparison(str(file)), tmp_path / "run").close()
    ComparisonDirectory.open(tmp_path / "run", load_comparison(str(file))).close()
    write_image(tmp_path / "pets" / "cats" / "more.png", 77)
    with pytest.raises(RunDirectoryError, match=r"the data of pets was 16 samples .* and is 17 samples"):
        ComparisonDirectory.open(tmp_path / "run", load_comparison(str(file)))
