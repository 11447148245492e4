"""Rooms and wings of the code: allowed imports, and the files of each library."""

import ast
import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("primitives", "results", "evaluators", "experiments")

#: Rooms that each room may import; ``lossearch`` is that folder with its wings.
FLOORS = {
    "primitives": {"primitives"},
    "results": {"results", "primitives"},
    "evaluators": {"evaluators", "primitives", "results"},
    "lossearch": {"lossearch", "evaluators", "primitives", "results", "experiments"},
}

#: The wings of each room from the ground up, several on one floor: none imports one above it or beside it. A file that
#: lies directly in a room has its own name here.
WINGS = {
    "primitives": (
        {"errors"},
        {"arguments"},
        {"language"},
        {"analysis"},
        {"programs"},
        {"batched", "modules"},
        {"catalog"},
        {"identity"},
    ),
    "results": (
        {"records", "plain_text"},
        {"statistics"},
        {"storage"},
        {"ranking", "findings"},
        {"export"},
        {"leaderboard"},
        {"report"},
    ),
    "evaluators": (
        {"data", "networks", "device", "versions"},
        {"settings"},
        {"tasks"},
        {"training"},
        {"cohort", "work"},
        {"screening", "measuring"},
        {"evaluation"},
        {"executors"},
    ),
    "lossearch": (
        {"loss_module", "listing"},
        {"runs"},
        {"callbacks", "exporting"},
        {"evolution", "trackers"},
        {"engine"},
        {"studies", "plot"},
        {"errors"},
        {"cli", "__init__"},
        {"__main__"},
    ),
}

#: Largest number of files in a folder: one with more needs another wing.
MOST_FILES = 20

#: Where each library may be imported.
THEIR_FILES = {
    "deap": ("lossearch/evolution/members.py", "lossearch/evolution/trees.py"),
    "ray": tuple(f"evaluators/executors/ray_{name}.py" for name in ("board", "cluster", "executor", "pool", "worker")),
    "pyarrow": ("results/storage/columns.py", "results/storage/tables.py"),
    "sympy": ("primitives/identity/algebra.py",),
    "torchvision": ("evaluators/data/torchvision_data.py",),
    "PIL": ("evaluators/data/images.py",),
    "optuna": ("lossearch/studies/tuner.py",),
    "plotly": tuple(f"results/report/{name}.py" for name in ("drawing", "run_figures", "training_figures")),
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """Return the name by which a file is imported: that of the package for an ``__init__.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "lossearch" else ("lossearch", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for room in FLOORS for path in sorted((ROOT / room).rglob("*.py"))}


def imported(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports anywhere, also in functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in SOURCES else node.module


GRAPH = {name: {module for module in imported(path) if module in SOURCES} - {name} for name, path in SOURCES.items()}


def room_of(name: str) -> str:
    second = (*name.split("."), "")[1]
    return second if second in ROOMS else "lossearch"


def wing_of(name: str) -> str:
    """Return the wing of a module, or the file that lies directly in a room."""
    parts = name.split(".")[1:] if room_of(name) == "lossearch" else name.split(".")[2:]
    return parts[0] if parts else "__init__"


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Find the strongly connected components of two or more nodes (Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_nodes: list[str] = []
    components = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        open_nodes.append(node)
        for neighbour in graph[node]:
            if neighbour not in order:
                visit(neighbour)
                lowest[node] = min(lowest[node], lowest[neighbour])
            elif neighbour in open_nodes:
                lowest[node] = min(lowest[node], order[neighbour])
        if lowest[node] == order[node]:
            start = open_nodes.index(node)
            component = open_nodes[start:]
            del open_nodes[start:]
            if len(component) > 1:
                components.append(sorted(component))

    for node in graph:
        if node not in order:
            visit(node)
    return components


def test_no_import_runs_upward_between_rooms() -> None:
    for name, path in SOURCES.items():
        names = set(imported(path))
        rooms = {room_of(module) for module in names if module.split(".")[0] == "lossearch"}
        assert rooms <= FLOORS[room_of(name)], f"{name} imports {rooms - FLOORS[room_of(name)]}"
        alone = {module.split(".")[0] for module in names} & set(ROOMS)
        assert not alone, f"{name}: a room is imported as a part of lossearch, got {alone}"


def test_packages_import_nothing_except_the_listed_ones() -> None:
    """Who imports a module imports its packages, too: a package that imports much could close a circle."""
    packages = {name: path for name, path in SOURCES.items() if path.name == "__init__.py"}
    packages["lossearch.experiments"] = ROOT / "experiments" / "__init__.py"
    importing = {name for name, path in packages.items() if any(map(is_ours, imported(path)))}
    wings = {"lossearch.primitives.catalog", "lossearch.evaluators.tasks"}
    assert importing == {"lossearch", "lossearch.trackers"} | wings


def is_ours(name: str) -> bool:
    return name.split(".")[0] == "lossearch"


def test_experiments_hold_no_code() -> None:
    assert [path.name for path in (ROOT / "experiments").rglob("*.py")] == ["__init__.py"]


def test_tables_of_lazy_names_are_the_imports_for_type_checkers() -> None:
    """So the graph of imports holds them."""
    for name in ("lossearch", "lossearch.errors"):
        table = importlib.import_module(name)._MODULES
        modules = set(table.values()) - {name}
        assert modules <= set(imported(SOURCES[name])), name


def test_tests_and_benchmarks_import_rooms_as_parts_of_the_package() -> None:
    for folder in ("tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not {name.split(".")[0] for name in imported(path)} & set(ROOMS), path


def test_no_import_runs_upward_between_wings() -> None:
    height = {room: {wing: floor for floor, wings in enumerate(WINGS[room]) for wing in wings} for room in WINGS}
    for name, others in GRAPH.items():
        room = room_of(name)
        if wing_of(name) == "__init__" and room != "lossearch":
            continue  # the package itself imports nothing
        for other in others:
            if room_of(other) == room and wing_of(other) not in (wing_of(name), "__init__"):
                assert height[room][wing_of(other)] < height[room][wing_of(name)], f"{name} imports {other}"


def test_every_wing_has_a_floor() -> None:
    wings_of = {room: {wing_of(name) for name in SOURCES if room_of(name) == room} for room in FLOORS}
    for room, wings in WINGS.items():
        assert set().union(*wings) | {"__init__"} == wings_of[room] | {"__init__"}


def test_no_file_is_in_a_circle() -> None:
    assert circles(GRAPH) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_no_folder_holds_too_many_files() -> None:
    folders = {path.parent for path in SOURCES.values()}
    full = {relative(folder): count for folder in folders if (count := len(list(folder.glob("*.py")))) > MOST_FILES}
    assert full == {}


def test_no_file_takes_the_name_of_a_public_function() -> None:
    import lossearch

    inner = {path.stem for path in (ROOT / "lossearch").iterdir()}
    assert inner & set(lossearch.__all__) <= {"errors", "plot", "trackers"}  # these are public modules as well


def test_evaluators_import_only_the_records_of_results() -> None:
    names = {other for name, others in GRAPH.items() if room_of(name) == "evaluators" for other in others}
    assert {name for name in names if room_of(name) == "results"} == {"lossearch.results.records"}


@pytest.mark.parametrize("library", THEIR_FILES)
def test_each_library_is_imported_only_in_its_own_files(library: str) -> None:
    names = {path: {name.split(".")[0] for name in imported(path)} for path in SOURCES.values()}
    assert {relative(path) for path, libraries in names.items() if library in libraries} == set(THEIR_FILES[library])


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    packages = {name for name, path in SOURCES.items() if path.name == "__init__.py"} | {"lossearch.experiments"}
    assert packages == set(listed)
