"""What README.md says is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from evaluators.fidelity import Fidelity
from lossearch.cli import app
from lossearch.declaration import ExecutorSettings
from lossearch.experiment import EvolutionSettings, Experiment
from primitives.catalog import CATALOG
from primitives.operators import FUNCTIONS
from primitives.terminals import TERMINALS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
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


def test_the_python_that_stands_under_losses_and_exports_runs(tmp_path):
    sections = README.partition("## Use a loss")[2].partition("## Search")[0]
    blocks = re.findall(r"```python\n(.*?)```", sections, re.DOTALL)
    assert len(blocks) == 3
    subprocess.run([sys.executable, "-W", "error", "-c", "\n".join(blocks)], cwd=tmp_path, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {"am_softmax.py", "focal.pt2"}


def test_every_known_loss_is_counted():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "Forty-eight known losses" in changelog
    assert len(CATALOG) == 48
