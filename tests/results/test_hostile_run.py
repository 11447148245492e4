"""The run of a stranger: its strings are shown and exported as text, and invalid formulas are refused."""

import ast
import io
import json
import warnings
from dataclasses import fields, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.cli.tables import leaderboard_table
from lossearch.results.findings.observation import observation_folder
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.results.records import Evaluation
from lossearch.results.storage.run_files import ForeignFile
from lossearch.results.storage.store import EvaluationStore
from lossearch.results.storage.tables import read_records
from tests.primitives.language.test_hostile_text import DEEP, HOSTILE, LONG
from tests.results.helpers import evaluation, refused

STRINGS = {
    "end_of_a_docstring": 'x"""\nimport os; os.system("true")\nr"""',
    "end_of_a_docstring_in_single_quotes": "x'''\nimport os\n'''",
    "backslash_at_the_end": 'x"\\',
    "backslashes_and_quotes": '\\"\\"\\"',
    "escapes_of_a_literal": r"\x22\x22\x22 \N{QUOTATION MARK}\u0022 \101",
    "line_ends": "x\r\nimport os\n\x0b\x0c\x1c\x85\u2028\u2029import os",
    "coding_line": "# -*- coding: utf-7 -*-",
    "call": '__import__("os").system("true")',
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "control_characters": "".join(map(chr, range(32))) + "\x7f\x9b2J",
    "right_to_left": "\u202egnp.exe",
    "zero_width": "a\u200bb\ufeff",
    "null_byte": "a\x00b",
    "markup": "[red]x[/red] [link=file:///etc/passwd]y[/link] [/]",
    "emoji_code": ":skull:",
    "html": "<script>alert(1)</script>",
    "template": "{0.__class__} %s ${HOME} {x!r:>99}",
    "json": '"}, {"rank": 0, "x": "',
    "shell": "$(true) `true`; true",
    "path": "../../../etc/passwd",
    "pickle": "cos\nsystem\n(S'true'\ntR.",
    "letters_beyond_ascii": "\u0440\uff50\u03c0 \U0001f600",
    "nothing": "",
}
LONG_STRING = "x\x1b" * 500_000

TEXT_FIELDS = ("evaluation_id", "task", "fidelity", "birth", "name", "finished_at")  # of a ranked row
#: Without surrogates, which Parquet cannot hold, and without megabytes, which have a test of their own.
FORMULAS = {name: text for name, text in {**HOSTILE, **LONG}.items() if len(text) < 100_000 and "\ud800" not in text}

EACH_STRING = pytest.mark.parametrize("string", STRINGS.values(), ids=STRINGS)
EACH_COLUMN = pytest.mark.parametrize("column", [field.name for field in fields(Evaluation)])


def board_of(tmp_path, *evaluations):
    EvaluationStore(tmp_path / "evaluations").append(evaluations)
    return Leaderboard(tmp_path)


def shown(rows, narrow=False):
    output = io.StringIO()
    console = Console(file=output, width=200, force_terminal=True, color_system=None, highlight=False)
    console.print(leaderboard_table(rows, top=20, narrow=narrow))
    return output.getvalue()


def printable(text):
    """Return True if a text holds nothing that a terminal obeys."""
    return all(character.isprintable() or character == "\n" for character in text)


def run_at_import(tree):
    """Yield the nodes that an import of a module evaluates: all but the bodies of functions."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name, inner in ast.iter_fields(node):
            if not (name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
                waiting += [
                    node for node in (inner if isinstance(inner, list) else [inner]) if isinstance(node, ast.AST)
                ]


def require_inert(source):
    """Assert that a file is a docstring, imports of torch, functions and one class, and calls nothing when loaded."""
    tree = ast.parse(source)
    docstring, *body = tree.body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(docstring.value, ast.Constant)
    assert isinstance(docstring.value.value, str)
    assert {type(node) for node in body} <= {ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef}
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    assert [node.name for node in classes] == ["Loss"]
    assert {type(node) for node in classes[0].body} <= {ast.Expr, ast.Assign, ast.AnnAssign, ast.FunctionDef}
    annotated = [node for node in classes[0].body if isinstance(node, ast.AnnAssign)]
    buffers = [f"{name}: Tensor" for name in ("weight", "rescaling", "prior", "progress")]
    assert {ast.unparse(node).removesuffix(" | None") for node in annotated} <= set(buffers)
    assert not [node for node in run_at_import(tree) if isinstance(node, ast.Call | ast.Lambda | ast.Await)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= {"torch", "math"}
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] == "torch"
            assert node.level == 0
        elif isinstance(node, ast.Name):
            assert node.id not in {"eval", "exec", "compile", "open", "__import__", "getattr", "globals"}
        elif isinstance(node, ast.Attribute):
            is_version = ast.unparse(node) == "torch.__version__"
            assert not node.attr.startswith("__") or node.attr in ("__init__", "__name__") or is_version
    assert source.isascii()
    assert printable(source)


@pytest.mark.parametrize(
    "bad",
    [
        "import os",
        "from os import system",
        "import torch\nprint(1)",
        "def f(x=open('x')): ...",
        "@f(1)\ndef g(): ...",
        "class Other: ...",
        "x = 1",
        "if True:\n    import torch",
        "def f():\n    eval('1')",
        "def f(x):\n    return x.__class__",
        "# \x0c",
        "# \u0440",
    ],
)
def test_a_file_that_is_not_inert_is_found(bad):
    good = (
        '"""Text."""\nimport torch\nclass Loss(torch.nn.Module):\n    def forward(self, x):\n        return x.exp()\n'
    )
    require_inert(good)
    with pytest.raises(AssertionError):
        require_inert(good + bad + "\n")


@EACH_STRING
def test_the_strings_of_a_row_are_read_shown_and_exported_as_text(string, tmp_path):
    texts = dict.fromkeys(TEXT_FIELDS, string)
    named, unnamed = (
        evaluation("ce(z) + p", **texts),
        evaluation("ce(z) + y", **texts | {"name": None}),
    )
    board = board_of(tmp_path, replace(named, evaluation_id="1"), unnamed)
    assert all(getattr(board.evaluations[1], field) == string for field in TEXT_FIELDS if field != "name")
    assert {row.name for row in board.rows} == {string, None}
    for narrow in (False, True):
        table = shown(board.rows, narrow)
        assert len(table.splitlines()) == 3
        assert printable(table)
    assert [row["formula"] for row in json.loads(json.dumps(board.to_dicts()))] == [row.formula for row in board.rows]
    assert read_records(board.write(), Row) == board.rows
    for entry in board:
        require_inert(entry.export(tmp_path / "loss.py").read_text())


@EACH_STRING
def test_a_string_is_shown_as_it_is_and_not_as_markup(string, tmp_path):
    board = board_of(tmp_path, evaluation("ce(z) + p", 0, 0.9, name=f"_{string}_"))
    expected = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in f"_{string}_"
    )
    assert expected in shown(board.rows)


@EACH_STRING
def test_a_hostile_reason_and_hostile_parents_are_kept_as_text(string, tmp_path):
    board = board_of(tmp_path, evaluation("ce(z)", 0, 0.9, parents=(string, string)), refused("p", reason=f"_{string}"))
    assert [row.reason for row in board.rows] == [None, f"_{string}"]
    assert json.loads(json.dumps(board.to_dicts()))[0]["parents"] == [string, string]
    assert printable(shown(board.rows))
    require_inert(board[0].export(tmp_path / "loss.py").read_text())


@EACH_STRING
def test_the_name_of_a_directory_is_text_in_the_exported_file(string, tmp_path):
    name = string.replace("/", "|").replace("\x00", "|") or "|"
    (tmp_path / name).mkdir()
    board = board_of(tmp_path / name, evaluation("ce(z)", 0, 0.9))
    require_inert(board[0].export(tmp_path / "loss.py").read_text())


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_a_row_without_a_valid_formula_is_shown_but_not_compiled(formula, tmp_path):
    board = board_of(tmp_path, evaluation(formula, 0, 0.95), evaluation("ce(z)", 0, 0.9))
    assert board[0].row.formula == formula
    assert printable(shown(board.rows[:1]))
    assert json.loads(json.dumps(board.to_dicts()))[0]["formula"] == formula
    for refusing in (lambda: board[0].formula, board[0].loss, lambda: board[0].export(tmp_path / "loss.py")):
        with pytest.raises(ValueError, match=r"^(Position \d+ of the formula|Expected a formula)"):
            refusing()
    assert not (tmp_path / "loss.py").exists()
    require_inert(board[1].export(tmp_path / "loss.py").read_text())


@pytest.mark.parametrize("formula", DEEP.values(), ids=DEEP)
def test_a_row_that_is_too_deep_is_refused(formula, tmp_path):
    board = board_of(tmp_path, evaluation(formula, 0, 0.95))
    with pytest.raises(ValueError, match="deep"):
        board[0].export(tmp_path / "loss.py")


@pytest.mark.parametrize(
    "formula",
    [
        *("1", "pi", "1e12*1e-12", "progress", "num_classes", "y", "prior", "batch_mean(norm)", "detach(z)", "-0*z"),
        *("exp(" * 60 + "p" + ")" * 60, "minimum(p," * 60 + "p" + ")" * 60, "+".join(["p"] * 64)),
    ],
    ids=lambda formula: formula[:20],
)
def test_a_strange_formula_is_exported_as_a_file_that_does_nothing_when_it_is_loaded(formula, tmp_path):
    board = board_of(tmp_path, evaluation(formula, 0, 0.9))
    require_inert(board[0].export(tmp_path / "loss.py").read_text())


@pytest.mark.parametrize("calibration", [0.0, 5e-324, 1.7976931348623157e308])
def test_the_calibration_of_a_stranger_is_a_number_in_the_file(calibration, tmp_path):
    board = board_of(tmp_path, evaluation("ce(z)", 0, 0.9, calibration=calibration))
    source = board[0].export(tmp_path / "loss.py").read_text()
    require_inert(source)
    assert f"    calibration = {calibration!r}\n" in source


def test_megabytes_in_a_row_are_read_and_shown(tmp_path):
    texts = dict.fromkeys(TEXT_FIELDS, LONG_STRING)
    board = board_of(tmp_path, evaluation("ce(z) + p", **texts), evaluation(LONG_STRING, 0, 0.5))
    assert [len(row.formula) for row in board.rows] == [len("ce(z) + p"), len(LONG_STRING)]
    assert printable(shown(board.rows))
    require_inert([*board, *board.rejected()][0].export(tmp_path / "loss.py").read_text())


def test_a_forged_name_changes_only_its_own_row(tmp_path):
    """A row that a stranger named cross_entropy stays a row of its own, and its formula is refused."""
    board = board_of(tmp_path, evaluation("__import__('os')", 0, 0.95, name="cross_entropy"), evaluation("ce(z)"))
    assert [row.formula for row in board.rows] == ["__import__('os')", "ce(z)"]
    with pytest.raises(ValueError, match="Position 11"):
        board[0].export(tmp_path / "loss.py")


# The command.


@EACH_STRING
def test_the_command_shows_and_exports_a_hostile_run(string, tmp_path):
    board_of(
        tmp_path,
        evaluation("ce(z) + p", 0, 0.95, name=f"_{string}", task=string, birth=string),
        evaluation(f"_{string}", 0, 0.9, task=string),
        refused("p", reason=f"_{string}"),
    )
    table = CliRunner().invoke(app, ["leaderboard", str(tmp_path)])
    assert (table.exit_code, table.stderr) == (0, "")
    assert printable(table.stdout)
    listed = CliRunner().invoke(app, ["leaderboard", str(tmp_path), "--json"])
    assert printable(listed.stdout)
    assert [row["formula"] for row in json.loads(listed.stdout)] == ["ce(z) + p", f"_{string}"]
    out = tmp_path / "loss.py"
    refusal = CliRunner().invoke(app, ["export", str(tmp_path), "--rank", "2", "--out", str(out)])
    assert refusal.exit_code == 2
    assert refusal.stderr.startswith("error: Position ")
    assert printable(refusal.stderr)
    assert CliRunner().invoke(app, ["export", str(tmp_path), "--out", str(out)]).exit_code == 0
    require_inert(out.read_text())


# Files with columns that are not ours.


def table_of(*evaluations):
    """Return the table that we would write, to be spoiled; every column may hold nulls."""
    values = {field.name: [getattr(record, field.name) for record in evaluations] for field in fields(Evaluation)}
    return pa.table(
        {**values, "parents": pa.array([list(parents) for parents in values["parents"]], pa.list_(pa.string()))}
    )


def spoiled(tmp_path, table, name="000001.parquet"):
    """Write a run of this part and a valid one."""
    (tmp_path / "evaluations").mkdir()
    pq.write_table(table, tmp_path / "evaluations" / name)
    EvaluationStore(tmp_path / "evaluations").append([evaluation("ce(z)", 0, 0.8)])
    return tmp_path


def opened(run):
    """Return the leaderboard of a run, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        board = Leaderboard(run)
    return board, [str(warning.message) for warning in caught]


def replaced(table, column, values):
    return table.set_column(table.column_names.index(column), column, values)


@pytest.mark.parametrize(
    "column",
    [field.name for field in fields(Evaluation)],
)
def test_nulls_in_a_column_are_read_or_the_part_is_named_as_damaged(column, tmp_path):
    table = table_of(evaluation("ce(z) + p", 0, 0.95))
    nulls = pa.array([None], table.schema.field(column).type)
    board, messages = opened(spoiled(tmp_path, replaced(table, column, nulls)))
    assert len(messages) == len(board.damages) <= 1
    assert printable(shown(board.rows))
    board.write()
    json.dumps(board.to_dicts())
    require_inert([*board, *board.rejected()][0].export(tmp_path / "loss.py").read_text())


@pytest.mark.parametrize(
    "column",
    [field.name for field in fields(Evaluation) if field.name != "formula"],
)
def test_strings_in_a_column_are_text_or_the_part_is_named_as_damaged_in_a_printable_message(column, tmp_path):
    strings = pa.array([STRINGS["escape"]])
    spoiled(tmp_path, replaced(table_of(evaluation("ce(z) + p", 0, 0.95)), column, strings))
    board, messages = opened(tmp_path)
    assert len(messages) == len(board.damages) <= 1
    assert all(map(printable, messages))
    assert printable(shown(board.rows))
    require_inert([*board, *board.rejected()][0].export(tmp_path / "loss.py").read_text())


@EACH_COLUMN
def test_a_column_with_a_repeated_name_is_damage(column, tmp_path):
    table = table_of(evaluation("ce(z) + p", 0, 0.95))
    board, messages = opened(spoiled(tmp_path, table.append_column(column, table[column])))
    assert len(messages) == len(board.damages) == 1
    assert [row.formula for row in board.rows] == ["ce(z)"]


def test_further_columns_are_left_out(tmp_path):
    table = table_of(evaluation("ce(z) + p", 0, 0.95)).append_column("__class__", pa.array(["x"]))
    board, messages = opened(spoiled(tmp_path, table.append_column("__reduce__", pa.array(["os.system"]))))
    assert messages == []
    assert [row.formula for row in board.rows] == ["ce(z) + p", "ce(z)"]


def test_bytes_that_are_no_utf_8_are_damage(tmp_path):
    table = replaced(table_of(evaluation("ce(z) + p", 0, 0.95)), "formula", pa.array([b"ce(z)\xff\xfe"]))
    board, messages = opened(spoiled(tmp_path, table))
    assert len(messages) == len(board.damages) == 1
    assert all(map(printable, messages))


@pytest.mark.parametrize(
    "loss_id",
    ["", "/etc/x", "../../x", "..", "a/b", "a\\b", "a\x00b", "a\n", "-x", ".x", "x" * 129, "\u0661", "a b", "\u202ea"],
)
def test_a_loss_id_that_could_name_another_place_is_damage(loss_id, tmp_path):
    table = replaced(table_of(evaluation("ce(z) + p", 0, 0.95)), "loss_id", pa.array([loss_id]))
    board, messages = opened(spoiled(tmp_path, table))
    assert len(messages) == len(board.damages) == 1
    with pytest.raises(ValueError, match="loss_id"):
        evaluation("ce(z)", loss_id=loss_id)
    with pytest.raises(ForeignFile):
        observation_folder(tmp_path, loss_id)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("column", ["fitness", "calibration"])
def test_numbers_that_break_a_rule_are_damage(column, number, tmp_path):
    table = replaced(table_of(evaluation("ce(z) + p", 0, 0.95)), column, pa.array([number]))
    board, messages = opened(spoiled(tmp_path, table))
    assert len(messages) == len(board.damages) == 1


@pytest.mark.parametrize(
    "version",
    [
        "-1",
        "x",
        "1e9",
        "",
        "__import__('os')",
        "9" * 5_000,
        "9" * 4_000,
    ],
    ids=lambda version: version[:20],
)
def test_an_invalid_version_is_ignored_and_a_long_one_counts_as_newer(version, tmp_path):
    table = table_of(evaluation("ce(z) + p", 0, 0.95)).replace_schema_metadata({"lossearch.schema_version": version})
    spoiled(tmp_path, table)
    if not version.isdigit():
        board, _ = opened(tmp_path)
        assert len(board.rows) == 2
        return
    result = CliRunner().invoke(app, ["leaderboard", str(tmp_path)])
    assert result.exit_code == 1
    assert "written with schema version" in result.stderr
    assert len(result.stderr) < 1_000


def test_the_name_of_a_damaged_part_is_printed_without_control_characters(tmp_path):
    run = tmp_path / "a\x1b[2J"
    (run / "evaluations").mkdir(parents=True)
    (run / "evaluations" / "000001.parquet").write_bytes(b"no Parquet")
    result = CliRunner().invoke(app, ["leaderboard", str(run)])
    assert result.exit_code == 1
    assert printable(result.stderr)
