"""Every shipped experiment can be read, and is what its head says. No data is read."""

import re
import tomllib
from importlib import resources

import pytest

from lossearch.comparison import load_comparison
from lossearch.experiment import load_experiment

TEXTS = {
    entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
    for entry in sorted(resources.files("experiments").iterdir(), key=lambda entry: entry.name)
    if entry.name.endswith(".toml")
}


def is_search(name):
    return "task" in tomllib.loads(TEXTS[name])


def trainings(name):
    """The training on each task, as the file declares it; loading it checks networks, losses and augmentation."""
    if not is_search(name):
        return load_comparison(name).fidelity_of
    experiment = load_experiment(name)
    return {task: experiment.training_on(task) for task in experiment.tasks}


@pytest.mark.parametrize("name", TEXTS)
def test_it_loads_under_the_name_of_its_file(name):
    assert (load_experiment if is_search(name) else load_comparison)(name).name == name
    assert re.fullmatch(r"[A-Za-z0-9_-]+", name)


@pytest.mark.parametrize("name", TEXTS)
def test_its_head_says_how_to_run_it(name):
    head = re.match(r"(#.*\n)+", TEXTS[name])
    assert head is not None
    commands = [line.removeprefix("#").strip() for line in head[0].splitlines()]
    assert f"lossearch {'search' if is_search(name) else 'compare'} {name}" in commands


@pytest.mark.parametrize("name", TEXTS)
def test_its_trainings_are_whole_epochs(name):
    for task, fidelity in trainings(name).items():
        if fidelity.epoch is not None:
            odd = [step for step in (*fidelity.milestones, fidelity.steps) if step % fidelity.epoch]
            assert not odd, f"{task}: {odd} are no multiples of epoch = {fidelity.epoch}"


@pytest.mark.parametrize("name", [name for name in TEXTS if name.startswith(("pedcc_", "ngl_", "emosynthnet_"))])
def test_a_table_of_a_paper_trains_losses_as_they_are_and_saves_every_epoch(name):
    for fidelity in trainings(name).values():
        assert not fidelity.calibrated
        assert fidelity.epoch is not None
