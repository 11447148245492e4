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
ONE_FILE = {
    "deap": "lossearch/evolution.py",
    "ray": "evaluators/ray_executor.py",
    "pyarrow": "results/store.py",
    "sympy": "primitives/algebra.py",
}
FORBIDDEN_CALLS = {"eval", "exec", "sympify", "parse_expr", "lambdify", "compile", "__import__"}
FORBIDDEN_IMPORTS = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}


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


def relative(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_no_import_runs_upward(path):
    room = relative(path).split("/")[0]
    ours = {name.split(".")[0] for name in imported(path)} & FLOORS.keys()
    assert ours <= FLOORS[room]


def test_evaluators_know_of_results_only_the_record():
    seen = {name for path in (ROOT / "evaluators").rglob("*.py") for name in imported(path)}
    assert {name for name in seen if name.startswith("results")} == {"results.records"}


@pytest.mark.parametrize("library", ONE_FILE)
def test_each_engine_is_imported_in_its_one_file(library):
    found = {relative(path) for path in sources() if library in {name.split(".")[0] for name in imported(path)}}
    assert found == {ONE_FILE[library]}


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_nothing_evaluates_text_or_reads_a_pickle(path):
    assert not {name.split(".")[0] for name in imported(path)} & FORBIDDEN_IMPORTS
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            assert name not in FORBIDDEN_CALLS - {"compile"}, name
            is_re = isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "re"
            assert name != "compile" or is_re
            is_torch = isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "torch"
            assert not (is_torch and name == "load")


def test_only_the_trial_executes_a_file_and_only_the_one_that_was_just_exported():
    """``exec_module`` stands in one place; what it is given is the path that ``export`` returned."""
    users = [relative(path) for path in sources() if "exec_module" in path.read_text()]
    assert users == ["lossearch/trial.py"]
    launch = (ROOT / "lossearch/launch.py").read_text()
    assert 'exported = board[0].export(run.path / "best_loss.py")' in launch
    callers = [relative(path) for path in sources() if "load_exported(" in path.read_text()]
    assert callers == ["lossearch/trial.py"]


def test_every_package_is_installed():
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {relative(path.parent).replace("/", ".") for path in sources() if path.name == "__init__.py"}
    assert found | {"experiments"} == listed
