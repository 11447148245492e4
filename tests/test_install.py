"""The installed package adds only its own files and works beside a user's modules."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.long_cases import long_unless

ROOT = Path(__file__).parent.parent
ROOMS = ("primitives", "evaluators", "results", "experiments")

#: A user's own modules that have the names of our folders.
OWN_MODULES = ("results.py", "primitives.py", "evaluators/__init__.py", "experiments/__init__.py")

#: Names under which a module of ours must not exist twice.
DOUBLE = f"[name for name in sys.modules if name.split('.')[0] in {ROOMS}]"

TINY = """
name = "tiny"
task = "digits"
[fidelity]
steps = 3
seeds = 1
[evolution]
population = 2
generations = 1
seeds = ["cross_entropy", "mse"]
[executor]
kind = "inline"
"""

USED = f"""
import sys
from pathlib import Path

import torch

import lossearch

assert Path(lossearch.__file__).is_relative_to(sys.argv[1]), lossearch.__file__
run = lossearch.search("tiny.toml", run_dir="run")
board = lossearch.Leaderboard("run")
assert board.rows[0].formula == run.leaderboard.rows[0].formula
path = lossearch.export(board[0], "best.py")
compile(Path(path).read_text(), "best.py", "exec")
assert lossearch.loss("focal")(torch.zeros(2, 4), torch.arange(2)).ndim == 0
assert not {DOUBLE}, {DOUBLE}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of a clean copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("lossearch", *ROOMS):
        shutil.copytree(ROOT / name, folder / "sources" / name, ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "sources")
    build = "import setuptools.build_meta as backend; backend.build_wheel('..')"
    done = subprocess.run([sys.executable, "-c", build], cwd=folder / "sources", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """The folder in which the wheel is installed, beside nothing else."""
    folder = tmp_path_factory.mktemp("site")
    words = ["pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-compile"]
    done = subprocess.run(
        [sys.executable, "-m", *words, "--target", str(folder), str(wheel)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def desk(tmp_path):
    """A user's folder with own modules that must not be imported."""
    for name in OWN_MODULES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise AssertionError(f'a module of the user was imported: {__name__}')\n")
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


def run(site, desk, *words):
    """Run Python in the user's folder with the installed package, which comes before an editable one."""
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=desk, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_package_with_all_its_files_is_installed_and_nothing_beside_it(site):
    (about,) = {path.name for path in site.iterdir()} - {"lossearch", "bin"}  # bin holds the command
    assert about.startswith("lossearch-")
    assert about.endswith(".dist-info")
    assert [path.name for path in (site / "bin").iterdir()] == ["lossearch"]
    ours = {path.relative_to(site).as_posix() for path in (site / "lossearch").rglob("*") if path.is_file()}
    assert ours == expected_files()
    assert "lossearch/py.typed" in ours
    assert "lossearch/experiments/digits.toml" in ours


def expected_files():
    """Return the repository's files that belong into the package, by their places there."""
    places = {ROOT / "lossearch": "lossearch"} | {ROOT / room: f"lossearch/{room}" for room in ROOMS}
    files = {}
    for folder, place in places.items():
        files |= {path: f"{place}/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.py")}
    files |= {path: f"lossearch/experiments/{path.name}" for path in (ROOT / "experiments").glob("*.toml")}
    page = ROOT / "results" / "report" / "page"
    files |= {path: f"lossearch/results/report/page/{path.name}" for path in page.iterdir()}
    return {*files.values(), "lossearch/py.typed"}


def test_it_works_among_modules_of_the_user_that_have_the_names_of_its_parts(site, desk):
    run(site, desk, "-W", "error", "-c", USED, site)
    assert (desk / "best.py").exists()
    rows = json.loads(run(site, desk, "-m", "lossearch", "leaderboard", "run", "--json"))
    assert {"cross_entropy", "mse"} <= {row["name"] for row in rows}


ON_A_WORKER = f"""
import sys
from pathlib import Path

from lossearch.evaluators.executors.ray_executor import RayExecutor
import ray


def modules():
    import lossearch.engine.launch
    import lossearch.experiments
    import lossearch.results.leaderboard

    files = {{}}
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None):
            files.setdefault(module.__file__, []).append(name)
    ours = Path(lossearch.__file__).parent
    rooms = [Path(lossearch.evaluators.__file__).parent, Path(lossearch.results.__file__).parent]
    double = {{file: names for file, names in files.items() if len(names) > 1 and "lossearch" in " ".join(names)}}
    return str(ours), [str(room) for room in rooms], double, {DOUBLE}


from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.work import Candidate, Work

pool = RayExecutor(workers=1)
work = Work((Candidate("id", "ce(z)", 2, 0, "known", 1),), "digits", TrainingSettings(steps=3, seeds=1), 0)
(evaluation,) = pool.submit(work).result()
assert evaluation.status == "evaluated", evaluation
there, here = ray.get(ray.remote(num_cpus=0)(modules).remote()), modules()
assert here == there, (here, there)
assert here[2:] == ({{}}, []), here
print(here[0])
pool.close()
ray.shutdown()
"""


@pytest.mark.long
@pytest.mark.parametrize("form", long_unless(["installed", "editable"], ("installed",)))
def test_a_module_has_one_identity_in_this_process_and_on_workers(form, site, desk, tmp_path_factory):
    folder = site if form == "installed" else tmp_path_factory.mktemp("nothing")
    expected = site / "lossearch" if form == "installed" else ROOT / "lossearch"
    assert run(folder, desk, "-c", ON_A_WORKER).strip() == str(expected)


def test_a_checkout_finds_its_own_rooms_whatever_is_installed(tmp_path):
    """Python begins in the working directory, and so do Ray's workers."""
    for name in ("lossearch", *ROOMS):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    program = "import lossearch, lossearch.results.records as r; print(lossearch.__file__, r.__file__, sep='\\n')"
    printed = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [Path(line).is_relative_to(tmp_path) for line in printed.stdout.splitlines()] == [True, True]
