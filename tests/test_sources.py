"""Our sources never run text, unpickle, or pass text to a shell."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("primitives", "results", "evaluators", "lossearch", "benchmarks", "experiments")

#: Readers of pickles, and modules that run a file or a text. None is imported, from any package.
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
RUNNERS = {"runpy", "code", "codeop", "imp", "pty"}
#: Names that are never used, also not as attributes.
NAMES = {
    *("__import__", "__builtins__", "exec", "sympify", "parse_expr", "lambdify", "from_string"),
    *("exec_module", "load_module", "import_module", "resolve_name", "read_pickle", "unsafe_load"),
}
#: Names that are not used alone; as attributes they have other meanings: ``re.compile``, ``network.eval()``.
BUILTINS = {"eval", "compile"}
DOTTED = {
    *("builtins.eval", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("torch.jit.script", "torch.jit.load", "torch.hub.load", "deap.gp.compile"),
    *("yaml.load", "yaml.load_all", "yaml.full_load"),
}
#: Arguments that must have this literal value wherever they occur.
SAFE_ARGUMENTS = {"shell": False, "allow_pickle": False, "weights_only": True}
#: Calls that need one of these arguments.
NEEDED = {"torch.load": "weights_only"}

#: Tables of public names; the module of a name is imported at its first use.
LAZY = ("lossearch/__init__.py", "lossearch/errors.py", "lossearch/trackers/__init__.py")

#: Beside them, the one place that loads a file as a module: the file that this process has just written from a parsed
#: formula.
ALLOWED = {
    **dict.fromkeys(LAZY, ["importlib.import_module"] * 2),  # its import and one call
    "lossearch/engine/export_check.py": ["spec.loader.exec_module"],
}


def sources():
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def relative(path):
    return path.relative_to(ROOT).as_posix()


def forbidden(tree):
    """List each use of a forbidden name, in the order of the lines."""
    imported = _imported_names(tree)
    uses = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            uses += [(node.lineno, name) for name in _forbidden_imports(node)]
        elif isinstance(node, ast.Name | ast.Attribute):
            uses += [(node.lineno, name) for name in _forbidden_names(node, imported)]
        elif isinstance(node, ast.Call):
            uses += [(node.lineno, name) for name in _forbidden_calls(node, imported)]
    return [name for _, name in sorted(uses)]


def _forbidden_imports(node):
    origin = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    for name in (f"{origin}{alias.name}" for alias in node.names):
        parts = name.split(".")
        is_star = parts[-1] == "*"  # hides the origin of a name
        if is_star or parts[0] in RUNNERS or PICKLES & set(parts) or name in DOTTED or parts[-1] in NAMES:
            yield name


def _forbidden_names(node, imported):
    dotted = _dotted(node, imported)
    last = dotted.split(".")[-1]
    if (
        last in NAMES
        or dotted in DOTTED
        or (isinstance(node, ast.Name) and dotted in BUILTINS)
        or (isinstance(node, ast.Attribute) and last == "compile" and dotted not in ("re.compile", "torch.compile"))
    ):
        yield dotted


def _forbidden_calls(call, imported):
    name, arguments = _dotted(call.func, imported), {keyword.arg: keyword.value for keyword in call.keywords}
    for argument, safe in SAFE_ARGUMENTS.items():
        if argument in arguments and getattr(arguments[argument], "value", None) is not safe:
            yield argument
    if name in NEEDED and NEEDED[name] not in arguments:
        yield name
    if name.endswith(".eval") and name not in DOTTED and (call.args or call.keywords):  # torch's takes nothing
        yield name
    if name == "getattr":
        texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        yield from (text for text in texts if text in NAMES | BUILTINS)


def _imported_names(tree):
    """Map the names in a file to the full names that they import."""
    full = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                full[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return full


def _dotted(node, imported):
    """Return the full name of an expression, as far as imports show it."""
    if isinstance(node, ast.Name):
        return imported.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, imported)}.{node.attr}"
    return ""


def test_nothing_runs_text_or_reads_a_pickle():
    by_file = {relative(path): forbidden(ast.parse(path.read_text())) for path in sources()}
    assert {name: uses for name, uses in by_file.items() if uses} == ALLOWED


@pytest.mark.parametrize("path", LAZY)
def test_a_table_of_public_names_imports_only_its_own_modules(path):
    module = importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    assert "import_module(_MODULES[name])" in (ROOT / path).read_text()
    assert module._MODULES
    assert all(name.startswith("lossearch.") for name in module._MODULES.values())
    assert all(getattr(module, name) is not None for name in module._MODULES)


def test_every_room_is_read():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert rooms <= set(ROOMS)
    assert {relative(path).split("/")[0] for path in sources()} == set(ROOMS)


def test_only_the_export_check_loads_a_file_and_only_the_exported_one():
    """What ``exec_module`` is given is the path that ``export`` returned."""
    launch = (ROOT / "lossearch/engine/launch.py").read_text()
    assert 'exported = board[0].export(run.path / "best_loss.py")' in launch
    callers = [relative(path) for path in sources() if "load_exported(" in path.read_text()]
    assert callers == ["lossearch/engine/export_check.py"]


# The detector itself.

BAD = {
    "eval('1')": ["eval"],
    "run = eval": ["eval"],
    "list(map(eval, texts))": ["eval"],
    "exec('1')": ["exec"],
    "compile('1', '', 'eval')": ["compile"],
    "import builtins\nbuiltins.eval('1')": ["builtins.eval"],
    "import builtins\nbuiltins.exec('1')": ["builtins.exec"],
    "import builtins\nbuiltins.compile('1', '', 'exec')": ["builtins.compile"],
    "from builtins import eval as read\nread('1')": ["builtins.eval", "builtins.eval"],
    "__builtins__['eval']('1')": ["__builtins__"],
    "getattr(builtins, 'eval')('1')": ["eval"],
    "frame.eval('a + b')": ["frame.eval"],
    "__import__('os')": ["__import__"],
    "import importlib\nimportlib.import_module(name)": ["importlib.import_module"],
    "from importlib import import_module": ["importlib.import_module"],
    "spec.loader.exec_module(module)": ["spec.loader.exec_module"],
    "from sympy import sympify": ["sympy.sympify"],
    "import sympy as sp\nsp.sympify('x')": ["sympy.sympify"],
    "def algebra(sp, x):\n    return sp.sympify(x)": ["sp.sympify"],
    "algebra = lambda sp, x: sp.S(1) + sp.parse_expr(x)": ["sp.parse_expr"],
    "from sympy.parsing.sympy_parser import parse_expr": ["sympy.parsing.sympy_parser.parse_expr"],
    "sympy.lambdify(x, y)": ["sympy.lambdify"],
    "import pickle": ["pickle"],
    "import pickle as data": ["pickle"],
    "def inner():\n    import pickle": ["pickle"],
    "if TYPE_CHECKING:\n    import pickle": ["pickle"],
    "from pickle import loads": ["pickle.loads"],
    "import cPickle": ["cPickle"],
    "import dill": ["dill"],
    "import cloudpickle": ["cloudpickle"],
    "from ray import cloudpickle": ["ray.cloudpickle"],
    "import ray.cloudpickle as data": ["ray.cloudpickle"],
    "import joblib": ["joblib"],
    "import shelve": ["shelve"],
    "import marshal": ["marshal"],
    "import runpy": ["runpy"],
    "import torch\ntorch.load(path)": ["torch.load"],
    "import torch\ntorch.load(path, weights_only=False)": ["weights_only"],
    "import torch\ntorch.load(path, weights_only=safe)": ["weights_only"],
    "import torch\ntorch.load(path, **options)": ["torch.load"],
    "import torch as t\nt.load(path)": ["torch.load"],
    "from torch import load\nload(path)": ["torch.load"],
    "import torch\ntorch.jit.script(f)": ["torch.jit.script"],
    "from torch import jit\njit.script(f)": ["torch.jit.script"],
    "from torch.jit import script": ["torch.jit.script"],
    "import torch\n@torch.jit.script\ndef f(): ...": ["torch.jit.script"],
    "import yaml\nyaml.load(text)": ["yaml.load"],
    "from yaml import load": ["yaml.load"],
    "import yaml\nyaml.unsafe_load(text)": ["yaml.unsafe_load"],
    "from deap import gp\ngp.compile(tree, pset)": ["deap.gp.compile"],
    "import deap.gp\ndeap.gp.compile(tree, pset)": ["deap.gp.compile"],
    "gp.compile(tree, pset)": ["gp.compile"],
    "from deap.gp import compile\ncompile(tree, pset)": ["deap.gp.compile", "deap.gp.compile"],
    "from deap import gp\ngp.PrimitiveTree.from_string(text, pset)": ["deap.gp.PrimitiveTree.from_string"],
    "from deap.gp import PrimitiveTree\nPrimitiveTree.from_string(text, p)": ["deap.gp.PrimitiveTree.from_string"],
    "import subprocess\nsubprocess.run(command, shell=True)": ["shell"],
    "from subprocess import Popen\nPopen(command, shell=True)": ["shell"],
    "import subprocess\nsubprocess.run(command, shell=given)": ["shell"],
    "import subprocess\nsubprocess.getoutput(command)": ["subprocess.getoutput"],
    "import os\nos.system(command)": ["os.system"],
    "import os as system\nsystem.system(command)": ["os.system"],
    "from os import system": ["os.system"],
    "from os import system as run\nrun(command)": ["os.system", "os.system"],
    "import os\nos.popen(command)": ["os.popen"],
    "from os import *": ["os.*"],
    "import numpy\nnumpy.load(path, allow_pickle=True)": ["allow_pickle"],
    "import pandas\npandas.read_pickle(path)": ["pandas.read_pickle"],
}

GOOD = [
    "import re\nre.compile(text)",
    "import torch\ntorch.compile(loss)",
    "import re as patterns\npatterns.compile(text)",
    "network.eval()",
    "import torch\ntorch.load(path, weights_only=True)",
    "import subprocess\nsubprocess.run([program, text], shell=False)",
    "import subprocess\nsubprocess.run([program, text])",
    "import os\nos.replace(a, b)",
    "import numpy\nnumpy.load(path)",
    "import yaml\nyaml.safe_load(text)",
    "from deap import gp\ngp.PrimitiveTree(nodes)",
    "import importlib.util\nimportlib.util.spec_from_file_location(name, path)",
    "text = 'eval(p)'  # exec(p)",
    "def evaluate(executor): ...",
    "getattr(row, 'formula')",
]


@pytest.mark.parametrize("snippet", BAD)
def test_each_forbidden_thing_is_found(snippet):
    assert forbidden(ast.parse(snippet)) == BAD[snippet]


@pytest.mark.parametrize("snippet", GOOD)
def test_harmless_code_is_not_reported(snippet):
    assert forbidden(ast.parse(snippet)) == []
