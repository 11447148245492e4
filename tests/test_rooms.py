"""The rooms of the house: who may import whom, and which library lives in which one file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "primitives": {"primitives"},
    "results": {"results", "primitives"},
    "evaluators": {"evaluators", "primitives", "results"},
    "lossearch": {"lossearch", "evaluators", "primitives", "results", "experiments"},
}
#: One file each; DEAP has one for trees, members and their selection, Ray one for the cluster, a worker, the pool of
#: them and their work, Arrow for tables and columns, plotly for figures of runs, of trainings, and how they look.
THEIR_FILES = {
    "deap": tuple(f"lossearch/{name}.py" for name in ("member", "selection", "trees")),
    "ray": tuple(f"evaluators/ray_{name}.py" for name in ("cluster", "executor", "pool", "worker")),
    "pyarrow": ("results/storage/columns.py", "results/storage/tables.py"),
    "sympy": ("primitives/identity/algebra.py",),
    "torchvision": ("evaluators/data/torchvision_data.py",),
    "PIL": ("evaluators/data/images.py",),
    "optuna": ("lossearch/studies/tuner.py",),
    "plotly": tuple(f"results/report/{name}.py" for name in ("drawing", "run_figures", "training_figures")),
}


def sources():
    return sorted(path for room in FLOORS for path in (ROOT / room).rglob("*.py"))


def imported(path):
    """Modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module


def room_of(name):
    second = (*name.split("."), "")[1]
    return second if second in {*FLOORS, "experiments"} else "lossearch"


def relative(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_no_import_runs_upward(path):
    room = relative(path).split("/")[0]
    ours = {room_of(name) for name in imported(path) if name.split(".")[0] == "lossearch"}
    assert ours <= FLOORS[room]
    assert not {name.split(".")[0] for name in imported(path)} & (FLOORS.keys() - {"lossearch"})


def test_evaluators_know_of_results_only_the_record():
    seen = {name for path in (ROOT / "evaluators").rglob("*.py") for name in imported(path)}
    assert {name for name in seen if room_of(name) == "results"} == {"lossearch.results.records"}


@pytest.mark.parametrize("library", THEIR_FILES)
def test_each_engine_is_imported_in_its_own_files_alone(library):
    found = {relative(path) for path in sources() if library in {name.split(".")[0] for name in imported(path)}}
    assert found == set(THEIR_FILES[library])


def test_every_package_is_installed():
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {relative(path.parent).replace("/", ".") for path in sources() if path.name == "__init__.py"}
    found = {name if name.startswith("lossearch") else f"lossearch.{name}" for name in found}
    assert found | {"lossearch.experiments"} == listed
