"""Exported files, loaded in a separate interpreter that has torch and none of our packages."""

import ast
import json
import py_compile
import subprocess
import sys
from dataclasses import replace
from importlib.util import cache_from_source
from pathlib import Path

import pytest
import torch

from lossearch.engine.export_check import ExportMismatch, load_exported, require_equal
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.operators import FUNCTIONS
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import loss_module
from lossearch.results.export.exportable import of_formula, of_known, of_module, of_row, with_named_numbers
from lossearch.results.export.python_file import export_source
from lossearch.results.ranking.rows import leaderboard_rows
from tests.results.helpers import evaluation

FORMULAS = {
    "stable_logarithms": "log(1 - p) - log(1 + exp(z)) + log(sum_c(exp(z))) - log(at_target(p)) + sqrt(p)",
    "powers": "p**2.5 + (1 - p)**1.5 + z**2 + 2**p + p**(-2) + (p + 1)**y",
    "batch": "batch_mean(ce(z))*ce(z) + detach(at_target(p))",
    "every_terminal": "ce(z) + norm + at_target(cosine + dist2 + weight_norm + prior) + progress*num_classes + pi",
    "minima": "minimum(0.5, p) + maximum(z, y) - max_c(z)*y + minimum(z, 2.5)",
    "linear": "ce(z) - 0.3*at_target(p)",
    "constants": "exp(0.25)*ce(z) + 1.5**p + p/0.7 + 0.7/(p + 1) + sqrt(2)*pi*z",
    "widened_scores": "ce(cosine*max_c(norm)) + ce(0.5*z)",
    "nothing_but_a_number": "3 + 0*ce(z)",
}
#: Formulas as rows of a run have them, and known losses with their hyper-parameters by name.
EXPORTS = {
    **{name: of_known(loss, loss.values()) for name, loss in CATALOG.items()},
}

READER = """
import importlib.util, json, sys
import torch

tensor = lambda values: torch.tensor(values, dtype=torch.float64)


def answers_of(path, given):
    spec = importlib.util.spec_from_file_location("exported", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    options = {name: tensor(given[name]) for name in ("prior", "weight") if given[name]}
    has_factor = hasattr(module.Loss, "calibration")
    formulas = {"calibrated": False} if has_factor else {}
    plain = module.Loss(*given["sizes"], **options, **formulas).double()
    smoothing = module.Loss(*given["sizes"], **options, **formulas, label_smoothing=0.1, reduction="sum").double()
    inputs = tensor(given["inputs"]).requires_grad_()
    answers = []
    for loss in (plain, smoothing):
        for name, values in given["parameters"].items():
            getattr(loss, name).data.copy_(tensor(values))
        if hasattr(loss, "set_progress"):
            loss.set_progress(0.25)
        for target in (torch.tensor(given["indices"]), tensor(given["probabilities"])):
            value = loss(inputs, target)
            gradient = torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)[0]
            answers.append([value.item(), gradient.tolist()])
    logits = plain.get_logits(inputs).tolist() if given["sizes"] else []
    scale = module.Loss(*given["sizes"], **options).factor if has_factor else None
    return [answers, logits, scale, repr(plain)]


with open(sys.argv[1]) as file:
    questions = json.load(file)
results = {name: answers_of(*each) for name, each in questions.items()}
assert not {"primitives", "lossearch", "results", "evaluators"} & set(sys.modules)
print(json.dumps(results))
"""


def row_of(formula, **changes):
    (row,) = leaderboard_rows([evaluation(formula, 0, 0.9, name=None, calibration=2.5)])
    return replace(row, **changes)


def source_of(formula, run="run", **changes):
    return export_source(of_row(row_of(formula, **changes), run))


EXPORTS |= {name: of_row(row_of(text), "run") for name, text in FORMULAS.items()}


def reference(loss):
    """Return a module's parameters, a batch, and its answers: plain and smoothed, on indices and on probabilities."""
    formula, over_embeddings = loss.formula, loss.over_embeddings
    generator = torch.Generator().manual_seed(0)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.2, 0.2], dtype=torch.float64) if "prior" in formula.names else None
    weight = torch.tensor([1.0, 2.0, 0.5, 0.3, 1.5], dtype=torch.float64)
    options = {"class_weights": loss.class_weights, "generator": generator} if over_embeddings else {"weight": weight}
    plain, smoothing = (
        loss_module(
            formula, loss.hyperparameters, num_classes=5, embedding_size=4, prior=prior, **more, **options
        ).double()
        for more in ({}, {"label_smoothing": 0.1, "reduction": "sum"})
    )
    smoothing.load_state_dict(plain.state_dict())
    inputs = torch.randn(6, 4 if over_embeddings else 5, generator=generator, dtype=torch.float64).requires_grad_()
    indices = torch.tensor([0, 4, 2, -100, 1, 3])
    probabilities = torch.softmax(torch.randn(6, 5, generator=generator, dtype=torch.float64), 1)
    answers = []
    for module in (plain, smoothing):
        module.set_progress(0.25)
        for target in (indices, probabilities):
            value = module(inputs, target)
            gradient = torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)[0]
            answers.append([value.item(), gradient])
    given = {
        "sizes": [5, 4] if over_embeddings else [],
        "prior": prior.tolist() if prior is not None else [],
        "weight": [] if over_embeddings else weight.tolist(),
        "parameters": {name: value.tolist() for name, value in plain.named_parameters()},
        "inputs": inputs.tolist(),
        "indices": indices.tolist(),
        "probabilities": probabilities.tolist(),
    }
    return given, answers, plain.get_logits(inputs).detach() if over_embeddings else torch.zeros(0)


@pytest.fixture(scope="module")
def answers_elsewhere(tmp_path_factory):
    """Answers of every exported file in an interpreter without our packages, by name."""
    folder, questions = tmp_path_factory.mktemp("exports"), {}
    for name, loss in EXPORTS.items():
        (folder / f"{name}.py").write_text(export_source(loss))
        questions[name] = [str(folder / f"{name}.py"), reference(loss)[0]]
    (folder / "questions.json").write_text(json.dumps(questions))
    command = [sys.executable, "-I", "-W", "error", "-c", READER, "questions.json"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("name", EXPORTS)
def test_the_exported_file_has_the_formulas_value_and_gradient_without_our_packages(name, answers_elsewhere):
    loss = EXPORTS[name]
    _, expected, expected_logits = reference(loss)
    answers, logits, scale, text = answers_elsewhere[name]
    assert scale == loss.calibration
    assert str(loss.formula) in text
    for (value, gradient), (expected_value, expected_gradient) in zip(answers, expected, strict=True):
        assert value == pytest.approx(expected_value, rel=1e-12)
        torch.testing.assert_close(torch.tensor(gradient, dtype=torch.float64), expected_gradient)
    torch.testing.assert_close(torch.tensor(logits, dtype=torch.float64), expected_logits.double())


@pytest.fixture(scope="module")
def exported_files(tmp_path_factory):
    """A folder of every exported file."""
    folder = tmp_path_factory.mktemp("files")
    for name, loss in EXPORTS.items():
        (folder / f"{name}.py").write_text(export_source(loss))
    return folder


@pytest.mark.parametrize(
    "checker",
    [
        pytest.param(["mypy", "--strict", "--config-file=", "--cache-dir=cache"], marks=pytest.mark.long),
        ["ruff", "check", "--isolated", "--line-length=120", "--select=E,F,W,I,B,UP,RUF,SIM,C4,PIE", "--no-cache"],
        ["ruff", "format", "--isolated", "--line-length=120", "--check", "--no-cache"],
    ],
    ids=["mypy", "ruff check", "ruff format"],
)
def test_exported_files_pass_strict_type_checks_and_linters(checker, exported_files):
    names = [f"{name}.py" for name in EXPORTS]
    command = [sys.executable, "-m", *checker, *names]
    process = subprocess.run(command, capture_output=True, text=True, cwd=exported_files, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


def test_every_function_of_an_exported_file_is_called(exported_files):
    for path in exported_files.glob("*.py"):
        tree = ast.parse(path.read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert functions <= read, path


def test_the_exported_file_imports_torch_and_the_standard_library_alone():
    for loss in EXPORTS.values():
        for node in ast.walk(ast.parse(export_source(loss))):
            if isinstance(node, ast.Import):
                assert all(alias.name.split(".")[0] in ("torch", "math") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.module == "torch"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_operator_is_exported_with_its_value_and_gradient(name, tmp_path):
    arguments = ", ".join(["at_target(z)" if name == "batch_mean" else "z"] * FUNCTIONS[name].arity)
    formula = f"{name}({arguments}) + ce(z)"
    path = tmp_path / "loss.py"
    path.write_text(source_of(formula))
    require_equal(load_exported(path), parse(formula))


def test_the_exported_file_says_where_it_comes_from():
    source = source_of("ce(z) + 0.5*p", "run-7", task="digits", generation=3, birth="point")
    for fact in (
        "ce(z) + 0.5*p",
        "run-7",
        "digits",
        "point g3, where g0 is the first generation",
        "Apache-2.0",
        "calibration = 2.5",
        "LaTeX:",
    ):
        assert fact in source


HOSTILE = 'x"""\nimport os; os.system("true")\nr"""\\'


@pytest.mark.parametrize("field", ["loss_id", "name", "task", "fidelity", "birth", "run"])
def test_hostile_text_of_a_run_stays_inside_the_docstring(field):
    changes = {} if field == "run" else {field: HOSTILE}
    source = source_of("ce(z)", HOSTILE if field == "run" else "run", **changes)
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {alias.name.split(".")[0] for node in imports for alias in node.names} <= {"torch", "Tensor", "nn", "math"}
    assert source.isascii()


def test_the_exported_file_refuses_wrong_shapes(tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(source_of("ce(z)"))
    loss = load_exported(path).Loss()
    with pytest.raises(ValueError, match="Expected target probabilities"):
        loss(torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="Expected class indices"):
        loss(torch.zeros(4, 3), torch.zeros(3, dtype=torch.long))


def test_an_export_that_differs_from_its_formula_is_noticed(tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(source_of("1.001*ce(z)"))
    with pytest.raises(ExportMismatch, match="differ in value"):
        require_equal(load_exported(path), parse("ce(z)"))


def test_a_row_that_is_no_formula_is_refused():
    with pytest.raises(ValueError, match="Position 11 of the formula"):
        of_row(replace(row_of("ce(z)"), formula="__import__('os')"), "run")


def test_numbers_that_are_not_whole_become_arguments_and_equal_ones_share_a_name():
    formula, values = with_named_numbers(parse("at_target((1 - p**0.7)/0.7) + 2*ce(z) + 0.1*p*cos(0.35)"))
    assert str(formula) == "at_target((1 - p**c1)/c1) + 2*ce(z) + c2*p*c3"
    assert values == pytest.approx({"c1": 0.7, "c2": 0.1, "c3": 0.9393727128473789})


def test_renamed_arguments_stay_different(tmp_path):
    path = tmp_path / "loss.py"
    values = {"forward": 2.0, "forward_": 1.0, "torch": 0.5, "index": 0.25, "self": 3.0, "calibrated": 0.7}
    text = "forward*ce(z) + forward_*mean_c(p) + torch*mean_c(z) + index*at_target(p) + self*max_c(p) + calibrated"
    formula = parse(text, values)
    module = loss_module(formula, values)
    path.write_text(export_source(of_module(module)))
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(load_exported(path).Loss()(logits, target), module(logits, target))


def test_a_modules_options_are_the_exported_classs_defaults(tmp_path):
    path = tmp_path / "loss.py"
    module = loss_module(parse("ce(z)"), reduction="sum", label_smoothing=0.1, ignore_index=2)
    path.write_text(export_source(of_module(module)))
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(load_exported(path).Loss()(logits, target), module(logits, target))


def test_a_known_formula_with_other_class_weights_is_another_loss():
    known, plain = (CATALOG[name].module(num_classes=3, embedding_size=2) for name in ("sub_center_arcface", "arcface"))
    assert "Sub-center ArcFace" in export_source(of_module(known))
    assert "Sub-center ArcFace" not in export_source(of_module(plain))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("text", ["ce(z - exp(m)*y)", "ce(z)", "m*mean_c(square(p - y))"])
def test_the_exported_class_computes_in_the_inputs_dtype(text, dtype, compiled, tmp_path):
    path = tmp_path / "loss.py"
    names = {"m": 0.5} if "m" in parse(text, ["m"]).names else {}
    path.write_text(export_source(of_formula(parse(text, names), names)))
    weight = torch.tensor([1.0, 2.0, 0.5])
    exported = load_exported(path).Loss(weight=weight)
    torch._dynamo.reset()
    call = torch.compile(exported, fullgraph=True, backend="aot_eager") if compiled else exported
    logits, target = torch.randn(4, 3, dtype=dtype), torch.tensor([0, 1, 2, 0])
    ours = loss_module(parse(text, names), names, weight=weight)
    torch.testing.assert_close(call(logits, target), ours(logits, target))
    assert call(logits, target).dtype is dtype


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": torch.ones(2, 2)}, "Expected weight, one finite number for each class"),
        ({"label_smoothing": 5.0}, "Expected label_smoothing between 0 and 1"),
        ({"reduction": "avg"}, "Expected reduction to be mean, sum or none"),
        ({"gamma": 7.0}, "Expected gamma between 0 and 5, got 7.0"),
        ({"gamma": "2"}, "Expected gamma between 0 and 5, got '2'"),
        ({"alpha": float("nan")}, "Expected alpha between .* got nan"),
    ],
)
def test_the_exported_class_refuses_what_the_module_refuses(options, message, tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(export_source(of_known(CATALOG["focal"], CATALOG["focal"].values())))
    with pytest.raises(ValueError, match=message):
        load_exported(path).Loss(**options)
    with pytest.raises(ValueError, match=message):
        CATALOG["focal"].module(**options)


def test_optional_arguments_go_by_name(tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(export_source(of_known(CATALOG["focal"], CATALOG["focal"].values())))
    with pytest.raises(TypeError, match="positional argument"):
        load_exported(path).Loss(torch.ones(3))
    path.write_text(export_source(of_known(CATALOG["logit_adjustment"], CATALOG["logit_adjustment"].values())))
    value = load_exported(path).Loss([0.5, 0.3, 0.2], weight=[1.0, 2.0, 1.0])(torch.zeros(2, 3), torch.tensor([0, 1]))
    assert torch.isfinite(value)
    with pytest.raises(ValueError, match="Expected prior, class frequencies"):
        load_exported(path).Loss([1.5, -0.5])


def test_the_progress_of_an_exported_loss_is_checked(tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(source_of("ce(z) + progress*p"))
    with pytest.raises(ValueError, match="Expected progress between 0 and 1, got 2"):
        load_exported(path).Loss().set_progress(2)


def test_a_rows_factor_is_applied_unless_it_is_declined(tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(source_of("ce(z) + 0.5*p"))
    exported, batch = load_exported(path).Loss, (torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))
    torch.testing.assert_close(exported()(*batch), 2.5 * exported(calibrated=False)(*batch))


def test_a_loss_that_was_never_scaled_has_no_factor():
    assert "calibrat" not in export_source(of_known(CATALOG["focal"], CATALOG["focal"].values()))


@pytest.mark.parametrize(
    ("formula", "kind"), [("ce(z) + norm", "sub_centers"), ("ce(cosine)", "bogus"), ("ce(z)", "pedcc")]
)
def test_a_row_whose_class_weights_do_not_suit_it_is_refused(formula, kind):
    changed = replace(row_of(formula), class_weights=kind)
    with pytest.raises(ValueError, match="Expected class_weights that suit"):
        of_row(changed, "run")


def test_a_row_of_a_known_loss_gets_its_hyperparameters_names():
    row = row_of("ce(30*(cosine - 0.35*y))", name="am_softmax", class_weights="learned")
    assert "s: float = 30.0," in export_source(of_row(row, "run"))
    other = row_of("ce(30*(cosine - 0.36*y))", name="am_softmax", class_weights="learned")
    assert "c1: float = 0.36," in export_source(of_row(other, "run"))


def test_an_argument_of_the_exported_class_changes_the_loss(tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(export_source(of_known(CATALOG["focal"], CATALOG["focal"].values())))
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    exported = load_exported(path).Loss(gamma=0.5, alpha=2.0)(logits, target)
    torch.testing.assert_close(exported, CATALOG["focal"].module(gamma=0.5, alpha=2.0)(logits, target))


def test_hyperparameters_with_reserved_names_get_other_names(tmp_path):
    path = tmp_path / "loss.py"
    module = loss_module(
        parse("training*ce(z) + forward*mean_c(p)", ["training", "forward"]), {"training": 2.0, "forward": 0.5}
    )
    path.write_text(export_source(of_module(module)))
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    exported = load_exported(path).Loss(training_=2.0, forward_=0.5)
    torch.testing.assert_close(exported(logits, target), module(logits, target))


def test_a_module_is_exported_with_its_class_weights_and_its_scale(tmp_path):
    path = tmp_path / "loss.py"
    module = CATALOG["pedcc"].module(num_classes=4, embedding_size=6, fine_tune_from=0.5, scale=3.0)
    path.write_text(export_source(of_module(module)))
    exported = load_exported(path).Loss(4, 6)
    torch.testing.assert_close(exported.weight, module.weight)
    assert not exported.weight.requires_grad
    exported.set_progress(0.5)
    assert exported.weight.requires_grad
    embeddings, target = torch.randn(4, 6), torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(exported(embeddings, target), module(embeddings, target))


def test_compiled_code_beside_an_exported_file_is_neither_run_nor_written(tmp_path):
    """Python trusts a compiled file that says it need not be compared with its source."""
    exported = tmp_path / "best_loss.py"
    exported.write_text("value = 'of the source'\n")
    hostile = tmp_path / "hostile.py"
    hostile.write_text("value = 'of the compiled file'\n")
    compiled = Path(cache_from_source(exported))
    py_compile.compile(str(hostile), str(compiled), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert load_exported(exported).value == "of the source"
    compiled.unlink()
    load_exported(exported)
    assert not compiled.exists()
