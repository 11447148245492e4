"""Exported files, loaded in an interpreter of their own that has torch and none of our packages."""

import ast
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lossearch.trial import ExportMismatch, load_exported, require_equal
from primitives.catalog import CATALOG
from primitives.operators import FUNCTIONS
from primitives.parser import parse
from primitives.torch_loss import loss_module
from results.export import export_source
from results.leaderboard import leaderboard_rows
from tests.results.helpers import evaluation

FORMULAS = {
    **{name: str(loss.bound()) for name, loss in CATALOG.items()},
    "stable_logarithms": "log(1 - p) - log(1 + exp(z)) + log(sum_c(exp(z))) - log(at_target(p)) + sqrt(p)",
    "powers": "p**2.5 + (1 - p)**1.5 + z**2 + 2**p + p**(-2) + (p + 1)**y",
    "batch": "batch_mean(ce(z))*ce(z) + detach(at_target(p))",
    "every_terminal": "ce(z) + norm + at_target(cosine + dist2 + weight_norm + prior) + progress*num_classes + pi",
    "minima": "minimum(0.5, p) + maximum(z, y) - max_c(z)*y",
}

READER = """
import importlib.util, json, sys
import torch
path, given = sys.argv[1], json.loads(sys.argv[2])
spec = importlib.util.spec_from_file_location("exported", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert not {"primitives", "lossearch", "results", "evaluators"} & set(sys.modules)
tensor = lambda values: torch.tensor(values, dtype=torch.float64)
options = {"prior": tensor(given["prior"])} if given["prior"] else {}
loss = module.Loss(*given["sizes"], **options).double()
for name, values in given["parameters"].items():
    getattr(loss, name).data.copy_(tensor(values))
if hasattr(loss, "set_progress"):
    loss.set_progress(0.25)
inputs = tensor(given["inputs"]).requires_grad_()
answers = []
for target in (torch.tensor(given["indices"]), tensor(given["probabilities"])):
    value = loss(inputs, target)
    answers.append([value.item(), torch.autograd.grad(value, inputs)[0].tolist()])
calibrated = module.Loss(*given["sizes"], **options, calibrated=True)
print(json.dumps([answers, calibrated.scale]))
"""


def row_of(formula, **changes):
    (row,) = leaderboard_rows([evaluation(formula, 0, 0.9, name=None, calibration=2.5)])
    return replace(row, **changes)


def reference(formula):
    """A module, a batch for it, and its answers on indices and on probabilities."""
    generator = torch.Generator().manual_seed(0)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.2, 0.2]) if "prior" in formula.names else None
    loss = loss_module(formula, num_classes=5, embedding_size=4, generator=generator, prior=prior).double()
    loss.set_progress(0.25)
    width = 4 if formula.looks_at_embeddings else 5
    inputs = torch.randn(6, width, generator=generator, dtype=torch.float64).requires_grad_()
    indices = torch.tensor([0, 4, 2, -100, 1, 3])
    probabilities = torch.softmax(torch.randn(6, 5, generator=generator, dtype=torch.float64), 1)
    answers = []
    for target in (indices, probabilities):
        value = loss(inputs, target)
        answers.append([value.item(), torch.autograd.grad(value, inputs)[0]])
    given = {
        "sizes": [5, 4] if formula.looks_at_embeddings else [],
        "prior": prior.tolist() if prior is not None else [],
        "parameters": {name: value.tolist() for name, value in loss.named_parameters()},
        "inputs": inputs.tolist(),
        "indices": indices.tolist(),
        "probabilities": probabilities.tolist(),
    }
    return given, answers


@pytest.mark.parametrize("text", FORMULAS.values(), ids=FORMULAS)
def test_the_exported_file_has_the_formulas_value_and_gradient_without_our_packages(text, tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(export_source(row_of(text), "run"))
    given, expected = reference(parse(text))
    command = [sys.executable, "-W", "error", "-c", READER, str(path), json.dumps(given)]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert process.returncode == 0, process.stderr
    answers, scale = json.loads(process.stdout)
    assert scale == 2.5
    for (value, gradient), (expected_value, expected_gradient) in zip(answers, expected, strict=True):
        assert value == pytest.approx(expected_value, rel=1e-12)
        torch.testing.assert_close(torch.tensor(gradient, dtype=torch.float64), expected_gradient)


def test_the_exported_file_imports_nothing_but_torch():
    for text in FORMULAS.values():
        for node in ast.walk(ast.parse(export_source(row_of(text), "run"))):
            if isinstance(node, ast.Import):
                assert all(alias.name.split(".")[0] == "torch" for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.module == "torch"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_operator_is_exported_with_its_value_and_gradient(name, tmp_path):
    arguments = ", ".join(["at_target(z)" if name == "batch_mean" else "z"] * FUNCTIONS[name].arity)
    formula = f"{name}({arguments}) + ce(z)"
    path = tmp_path / "loss.py"
    path.write_text(export_source(row_of(formula), "run"))
    require_equal(load_exported(path), parse(formula))


def test_the_exported_file_says_where_it_comes_from():
    source = export_source(row_of("ce(z) + 0.5*p", task="digits", generation=3, birth="point"), "run-7")
    for fact in (
        "ce(z) + 0.5*p",
        "run-7",
        "digits",
        "point, generation 3",
        "Apache-2.0",
        "calibration = 2.5",
        "LaTeX:",
    ):
        assert fact in source


HOSTILE = 'x"""\nimport os; os.system("true")\nr"""\\'


@pytest.mark.parametrize("field", ["loss_id", "task", "fidelity", "birth", "run"])
def test_hostile_text_of_a_run_stays_inside_the_docstring(field):
    changes = {} if field == "run" else {field: HOSTILE}
    source = export_source(row_of("ce(z)", **changes), HOSTILE if field == "run" else "run")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {alias.name.split(".")[0] for node in imports for alias in node.names} <= {"torch", "Tensor", "nn"}
    assert source.isascii()


def test_the_exported_file_refuses_wrong_shapes(tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(export_source(row_of("ce(z)"), "run"))
    loss = load_exported(path).Loss()
    with pytest.raises(ValueError, match="Expected probabilities"):
        loss(torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="Expected class indices"):
        loss(torch.zeros(4, 3), torch.zeros(3, dtype=torch.long))


def test_an_export_that_differs_from_its_formula_is_noticed(tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(export_source(row_of("1.001*ce(z)"), "run"))
    with pytest.raises(ExportMismatch, match="differ in value"):
        require_equal(load_exported(path), parse("ce(z)"))


def test_a_row_that_is_no_formula_is_refused():
    with pytest.raises(ValueError, match="Position 11 of the formula"):
        export_source(replace(row_of("ce(z)"), formula="__import__('os')"), "run")
