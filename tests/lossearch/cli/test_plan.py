"""The plan of a search: its data, its network, the number of its trainings and their time."""

import re

import numpy as np
import pytest

from lossearch.cli.plan import plan
from lossearch.engine.launch import _declared
from lossearch.evaluators.device import choose_device
from lossearch.runs.estimate import _list_steps, count_parameters
from lossearch.runs.timing import in_words
from tests.evaluators.small_images import write_folder

SMALL = {"population": 4, "generations": 2, "seeds": ["cross_entropy"], "kind": "inline"}


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path_factory.mktemp("home")))


def test_a_folder_is_counted_without_being_decoded(tmp_path):
    folder = write_folder(tmp_path / "photos", ("cats", "dogs"), each=8)
    (folder / "cats" / "notes.txt").write_text("no image")
    text = plan(_declared(None, {"task": str(folder), **SMALL}))
    assert "2 classes, inputs of 3x32x32, train 8, validation 4, test 4 images; splits divided here" in text
    assert "left out: 1 " in text
    assert "up to 16 trainings of" in text
    if choose_device("auto").type == "cpu":
        assert "network on photos: cnn," in text
        assert "torch sees no GPU here" in text
    assert not any((tmp_path.parent / "home").glob("*"))


def test_a_file_of_arrays_tells_its_parts_and_where_they_come_from(tmp_path):
    inputs, targets = np.zeros((40, 5), np.float32) + np.arange(40)[:, None], np.arange(40) % 2
    np.savez(tmp_path / "whole.npz", inputs=inputs, targets=targets)
    part = {"train_inputs": inputs, "train_targets": targets, "test_inputs": inputs + 99, "test_targets": targets}
    np.savez(tmp_path / "parts.npz", **part)
    whole = plan(_declared(None, {"task": str(tmp_path / "whole.npz"), **SMALL}))
    assert "2 classes, inputs of 5, train 20, validation 10, test 10 samples; splits all divided here" in whole
    parts = plan(_declared(None, {"task": str(tmp_path / "parts.npz"), **SMALL}))
    assert "test 40 samples; splits validation divided from train" in parts
    assert re.search(r"time: about \d.* on this machine with 1 worker", whole)


def test_sizes_are_those_of_the_network():
    experiment = _declared("digits", {})
    # 64 inputs to 64 units, 64 to 10 classes, each with a bias
    assert count_parameters(experiment.task_named("digits"), experiment.fidelity) == 64 * 65 + 65 * 10


def test_rungs_shorten_the_estimate():
    fidelity = _declared("digits", {"steps": 90, "rungs": [10, 30]}).fidelity
    assert sum(_list_steps(fidelity)) == pytest.approx(10 + 20 / 3 + 60 / 9)


@pytest.mark.parametrize(("seconds", "said"), [(0.1, "1 s"), (80, "80 s"), (600, "10 min"), (7 * 3600, "7.0 h")])
def test_durations_are_said_as_a_person_says_them(seconds, said):
    assert in_words(seconds) == said
