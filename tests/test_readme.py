"""What README.md says is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from evaluators.fidelity import Fidelity
from evaluators.tasks.arrays import ArrayData
from evaluators.tasks.folder import FolderData
from lossearch.cli import app
from lossearch.comparison import Comparison
from lossearch.declaration import ExecutorSettings
from lossearch.experiment import EvolutionSettings, Experiment
from primitives.catalog import CATALOG
from primitives.operators import FUNCTIONS
from primitives.terminals import TERMINALS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXPERIMENT = [
    ("", Experiment),
    ("fidelity.", Fidelity),
    ("evolution.", EvolutionSettings),
    ("executor.", ExecutorSettings),
    ("data.TASK.", FolderData),
    ("data.TASK.", ArrayData),
]
FILES = {"experiment": EXPERIMENT, "comparison": [("", Comparison)]}
KEYS = sorted(
    {
        (file, f"{section}{name}", field.description)
        for file, sections in FILES.items()
        for section, model in sections
        for name, field in model.model_fields.items()
        if name not in ("fidelity", "evolution", "executor", "data")
    }
)


@pytest.mark.parametrize(("file", "key", "meaning"), KEYS)
def test_every_key_of_a_file_stands_there_with_its_meaning(file, key, meaning):
    section = README.partition(f"### The {file} file\n")[2].partition("\n#")[0]
    (line,) = [line for line in section.splitlines() if line.startswith(f"| `{key}` |")]
    assert line.endswith(f"| {meaning} |")


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
    sections = README.partition("## Use a loss")[2].partition("## Compare losses")[0]
    blocks = re.findall(r"```python\n(.*?)```", sections, re.DOTALL)
    assert len(blocks) == 3
    subprocess.run([sys.executable, "-W", "error", "-c", "\n".join(blocks)], cwd=tmp_path, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {"am_softmax.py", "focal.pt2"}


def test_every_known_loss_is_counted():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "Forty-eight known losses" in changelog
    assert [each.origin for each in CATALOG.values()].count("literature") == 48
