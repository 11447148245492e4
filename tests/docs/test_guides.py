"""Every snippet and command of README.md and docs/ runs, page by page, in order.

What would take long is run in a smaller form: with fewer steps, seeds or settings, or as a dry run. What needs a
cluster or data that is not there is named below, with the test that runs it.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.engine.launch import search
from lossearch.evaluators.tasks import TASKS
from lossearch.runs.experiment import validated
from lossearch.studies.comparison import validated_comparison
from tests.docs.guides import PAGES, ROOT, blocks, commands
from tests.evaluators.small_images import write_folder
from tests.long_cases import long_unless
from tests.lossearch.small import SMALL, TOML

#: Their blocks are run by tests of their own: tests/docs/test_pages.py, and below; the others hold placeholders.
ELSEWHERE = {"reading", "primitives", "evidence", "search", "clusters", "speed"}
RUN_HERE = [page for page in PAGES if page.stem not in ELSEWHERE]

#: Commands that do not run here, and the files of the tests that cover them.
NOT_RUN = {
    "lossearch search mine.toml --ray-address auto": "tests/evaluators/executors/test_cluster_address.py",
    "lossearch compare pedcc_table_1": "tests/experiments/test_experiments.py",
    "lossearch download cifar10": "tests/evaluators/tasks/test_downloaded.py",
}
#: Parts of commands and snippets, and their replacements here. Each part is on some page.
SMALLER = {
    "report runs/a": "report runs/a --top 1",
    "search digits --show": "search digits --show",
    "search digits": "search digits --dry-run",
    "search digits --run-dir runs/digits": "search digits --dry-run",
    "search noisy_labels --run-dir runs/noisy": "search noisy_labels --dry-run",
    "tune runs/digits --top 2 --trials 6 --baselines cross_entropy,focal,label_smoothing": (
        "tune runs/digits --top 1 --trials 2 --seeds 1 --baselines mse"
    ),
    "compare runs/digits --seeds 8": "compare runs/digits --seeds 2 --top 1",
    "tune runs/noisy --top 12 --trials 16 --seeds 3": "tune runs/noisy --top 1 --trials 2 --seeds 1 --baselines mse",
    "tune runs/noisy": "tune runs/noisy --top 1 --trials 2 --seeds 1 --baselines mse",
    "compare runs/noisy --seeds 20": "compare runs/noisy --seeds 2 --top 1",
    "--task digits --losses": "--run-dir runs/compare-20261125-091925 --steps 3 --seeds 2 --task digits --losses",
    "--losses focal,pedcc --tune 20": "--losses focal,pedcc --tune 2 --steps 3 --seeds 2",
    "compare --task wine.npz": "compare --steps 3 --seeds 2 --task wine.npz",
    "compare --task mine.npz": "compare --steps 3 --seeds 2 --task wine.npz",
    "compare --task digits_noisy": "compare --steps 3 --seeds 2 --task digits_noisy",
    "compare --task ./photos": "compare --steps 3 --seeds 2 --task ./photos",
    'seeds=10, fidelity={"steps": 300})': 'seeds=2, fidelity={"steps": 3}, executor="inline")',
    "top=12, trials=16, seeds=3)": 'top=1, trials=2, seeds=1, baselines=["mse"], executor="inline")',
    'verdict("runs/noisy", seeds=20)': 'verdict("runs/noisy", seeds=2, top=1, executor="inline")',
    'explain("runs/noisy", rank=1)': 'explain("runs/noisy", rank=1, seeds=2, executor="inline")',
    'fidelity(["digits"])': 'fidelity(["digits"], candidates=10, seeds=1, executor="inline")',
}
if shutil.which("chromium") is None and os.environ.get("LOSSEARCH_BROWSER_TESTS") != "required":  # it draws pictures
    SMALLER['.write_image("focal.svg")'] = ""

#: Losses that the searches here start from.
LOGITS = ("cross_entropy", "mse", "ngl")

#: Commands that train, here without Ray.
TRAINING = {"search", "compare", "tune", "explain", "fidelity"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A directory with a run called runs/a, over logits, as that of README."""
    folder = tmp_path_factory.mktemp("guides")
    evolution = SMALL.evolution.model_copy(update={"seeds": LOGITS, "terminals": ("p", "y", "z")})
    search(SMALL.model_copy(update={"evolution": evolution}), run_dir=folder / "runs" / "a")
    return folder


@pytest.fixture
def desk(done, tmp_path, monkeypatch):
    """Working directory of a reader: runs, a file mine.toml, a folder of images, a file of arrays."""
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    for name in ("noisy", "digits"):
        shutil.copytree(tmp_path / "runs" / "a", tmp_path / "runs" / name)
    (tmp_path / "mine.toml").write_text(TOML.replace(', "am_softmax"', "").replace(', "cosine"', ""))
    np.savez(tmp_path / "wine.npz", inputs=np.random.default_rng(0).normal(size=(40, 3)), targets=np.arange(40) % 2)
    write_folder(tmp_path / "photos", ("cats", "dogs"))
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "data"))
    for name, task in TASKS.items():  # short trainings where a page sets no steps
        monkeypatch.setitem(TASKS, name, replace(task, fidelity=task.fidelity.model_copy(update={"steps": 24})))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_loss", None)


def smaller(text):
    """Replace the long parts of a text by their small forms; where two fit, the longer one."""
    parts = "|".join(re.escape(part) for part in sorted(SMALLER, key=len, reverse=True))
    return re.sub(parts, lambda match: SMALLER[match[0]], text)


@pytest.mark.parametrize(
    "page", long_unless(RUN_HERE, lambda page: page.stem not in ("comparing", "results")), ids=lambda page: page.stem
)
def test_code_and_commands_of_a_page_run(page, desk):
    if page.stem == "searching":
        shutil.rmtree(desk / "runs" / "a")  # the page creates it
    names = {}
    for block in blocks(page):
        if block.kind == "python":
            exec(compile(smaller(block.text), f"{page.name}", "exec"), names)
        elif block.kind == "toml":
            declared(block, desk)
        elif not block.kind:
            for words in commands(block.text):
                call(words, desk)


def call(words, desk):
    """Run a command in its smaller form, if it has one. Write its output to the file after ``>``."""
    if shlex.join(words) in NOT_RUN:
        return
    target = None
    if ">" in words:
        words, (_, target) = words[:-2], words[-2:]
    line = smaller(shlex.join(words[1:]))
    given = shlex.split(line)
    if given[0] in TRAINING and "--executor" not in given:
        given += ["--executor", "inline"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, (line, result.output, result.stderr)
    if target is not None:
        assert result.stdout
        if target == "mine.toml":
            assert tomllib.loads(result.stdout)["name"] == "digits"
        else:
            (desk / target).write_text(result.stdout)


def declared(block, desk):
    """Check a TOML file shown on a page, and write it if the line above gives its name."""
    named = re.fullmatch(r"`(\w+\.toml)`:", block.above)
    if named:
        (desk / named[1]).write_text(block.text)
    check = validated if "task" in tomllib.loads(block.text) else validated_comparison
    check(tomllib.loads(block.text), block.above)


# Adding to the language, in a copy of the sources.

PRIMITIVES = blocks(ROOT / "docs" / "primitives.md")
ROOMS = ("primitives", "results", "evaluators", "experiments")

CHECK = """
import torch

import lossearch
from lossearch.runs.experiment import load_experiment
from lossearch.primitives.identity.algebra import canonical
from lossearch.primitives.programs.derivatives import RULES
from lossearch.primitives.language.parser import parse

x = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64, requires_grad=True)
(slope,) = torch.autograd.grad(torch.arcsinh(x).sum(), x)
torch.testing.assert_close(RULES[torch.arcsinh][0](torch.ones_like(x), torch.arcsinh(x), x), slope)
assert str(canonical(parse("ce(arcsinh(z) + arcsinh(z))"))) == "ce(2*arcsinh(z))"
assert lossearch.loss("confident_cross_entropy", a=0.5)(torch.zeros(2, 4), torch.arange(2)).ndim == 0
run = lossearch.search(load_experiment("waves.toml"), run_dir="run", executor="inline")
assert any("arcsinh" in row.formula for row in run.leaderboard.rows)
"""


def test_additions_to_the_language_by_the_guide_are_available(tmp_path):
    package, unwanted = tmp_path / "lossearch", shutil.ignore_patterns("__pycache__", "*.parquet")
    shutil.copytree(ROOT / "lossearch", package, ignore=unwanted)
    for room in ROOMS:  # laid out as in an installed package, which is found before the editable one
        shutil.copytree(ROOT / room, package / room, ignore=unwanted)
    added = [block.text for block in PRIMITIVES if block.text.startswith("# primitives/")]
    assert len(added) == 4
    for text in added:
        file, name, lines = re.fullmatch(r"# (\S+)\n(\w+) = [({]\n    # ...\n(.*)[)}]\n", text, re.DOTALL).groups()
        source = (package / file).read_text()
        opening = re.search(rf"^{name}\b.*[({{]\n", source, re.MULTILINE)
        changed = source[: opening.end()] + lines + source[opening.end() :]
        (package / file).write_text(changed)
    (waves,) = [block.text for block in PRIMITIVES if "arcsinh" in block.text and block.kind == "toml"]
    small = 'seeds = ["cross_entropy"]\nrandom_trees = 1.0\npopulation = 30\ngenerations = 1\n'
    (tmp_path / "waves.toml").write_text(waves + small + "[fidelity]\nsteps = 3\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run([sys.executable, "-W", "error", "-c", CHECK], cwd=tmp_path, env=environment, check=False)
    assert result.returncode == 0


def test_the_rest_of_that_guide_runs(desk):
    for block in PRIMITIVES:
        if block.kind == "python" and not block.text.startswith("#"):
            exec(compile(block.text, "primitives.md", "exec"), {})
        elif block.kind == "toml" and "arcsinh" not in block.text:
            declared(block, desk)


def test_every_replaced_or_omitted_text_is_on_a_page():
    text = "\n".join(page.read_text(encoding="utf-8") for page in RUN_HERE)
    lines = {shlex.join(words) for page in RUN_HERE for block in blocks(page) for words in commands(block.text)}
    everything = "\n".join([text, *lines])
    assert [part for part in SMALLER if part not in everything] == []
    assert NOT_RUN.keys() <= lines
    assert all((ROOT / path).exists() for path in NOT_RUN.values())
