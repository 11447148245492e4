"""What README.md says is so."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

import lossearch
from evaluators.fidelity import Fidelity
from lossearch.cli import app
from lossearch.experiment import EvolutionSettings, ExecutorSettings, Experiment
from primitives.operators import FUNCTIONS
from primitives.terminals import TERMINALS

README = (Path(__file__).parent.parent / "README.md").read_text()
SECTIONS = {"": Experiment, "fidelity.": Fidelity, "evolution.": EvolutionSettings, "executor.": ExecutorSettings}
KEYS = {
    f"{section}{name}": field
    for section, model in SECTIONS.items()
    for name, field in model.model_fields.items()
    if name not in ("fidelity", "evolution", "executor")
}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_an_experiment_stands_there_with_its_meaning(key):
    (line,) = [line for line in README.splitlines() if line.startswith(f"| `{key}` |")]
    assert line.endswith(f"| {KEYS[key].description} |")


def test_every_word_of_the_language_stands_there():
    words = set(re.findall(r"[a-z_0-9]+", README))
    assert (FUNCTIONS.keys() | TERMINALS.keys()) <= words


def test_every_command_that_stands_there_exists():
    commands = get_command(app).commands
    shown = re.findall(r"^lossearch (\w+)(.*)$", README, re.MULTILINE)
    assert {name for name, _ in shown} <= commands.keys()
    for name, rest in shown:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest.partition("#")[0])) <= known


def test_the_losses_that_stand_there_can_be_made():
    lines = re.findall(r"^loss = (lossearch\.loss\(.*?\))(?:  #.*)?$", README, re.MULTILINE)
    assert len(lines) == 3
    assert lossearch.loss("focal", gamma=1.5).hyperparameters["gamma"] == 1.5
    assert lossearch.loss("am_softmax", num_classes=100, embedding_size=512).weight.shape == (100, 512)
    assert lossearch.loss("ce(z) + eps*(1 - at_target(p))", eps=1.0).hyperparameters == {"eps": 1.0}
