"""Export of a loss as one readable Python file that imports only torch.

Invariant: the file is written from a parsed formula and from text that cannot end its docstring, so that no
string of a run becomes code. It contains the very functions that the search trained with.
"""

import dis
import inspect
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from textwrap import wrap
from typing import Any

import torch

from lossearch.primitives.language.formula import latex
from lossearch.results.export.class_source import WIDTH, class_source, helper_functions
from lossearch.results.export.exportable import Exportable
from lossearch.results.export.forward_source import programs
from lossearch.results.export.statements import OUR_MODULES, is_ours, returned_expression
from lossearch.results.export.usage import EMBEDDING_USE, OWNS_LAST_LAYER
from lossearch.results.plain_text import plain
from lossearch.results.storage.atomic import write_whole_text

_LICENSE = "SPDX-License-Identifier: Apache-2.0"

_FLATTERY = (
    "The validation score chose the loss among many, so it flatters the loss: test it on your own data and seeds "
    "before you rely on it."
)


def write_export(path: Path, loss: Exportable) -> Path:
    """Write a loss as a Python file, whole or not at all, and return the path."""
    write_whole_text(path, export_source(loss), typed=True)
    return path


def export_source(loss: Exportable) -> str:
    """Return the source of a file with one class, ``Loss``."""
    called = [step.function for program in programs(loss) for step in program.steps if is_ours(step.function)]
    not_inlined = [function for function in called if returned_expression(function) is None]
    functions = _with_callees([*not_inlined, *helper_functions(loss)])
    class_text = class_source(loss)
    parts = [
        f"# {_LICENSE}\n{_docstring(loss)}\n\n{_imports(functions, class_text)}",
        class_text,
        "# The functions that the class calls.",
        *map(inspect.getsource, functions),
    ]
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts)


def written_by() -> str:
    """Return the versions that write a file."""
    return f"lossearch {version('lossearch')}, torch {plain(torch.__version__)}"


def _docstring(loss: Exportable) -> str:
    values = ", ".join(f"{name} = {value:g}" for name, value in loss.hyperparameters.items())
    facts = [
        ("Formula", str(loss.formula)),
        ("LaTeX", latex(loss.formula)),
        *((("Defaults", values),) if values else ()),
        *((label, plain(text)) for label, text in loss.facts),
        ("Written by", written_by()),
        ("License", "Apache-2.0, for the code of this file; a formula is free"),
    ]
    width = max(len(label) for label, _ in facts) + 2
    title = f"Loss {plain(loss.title)}" if loss.title else "A loss"
    lines = [f"{title}, a torch module over {'embeddings' if loss.over_embeddings else 'logits'}.", ""]
    for label, text in facts:
        lines += wrap(
            text,
            WIDTH - 1,
            initial_indent=f"{label + ':':{width}}",
            subsequent_indent=" " * width,
            break_on_hyphens=False,
        )
    if loss.over_embeddings:
        lines += ["", f"It takes embeddings, and it {OWNS_LAST_LAYER}:", "", *(f"    {line}" for line in EMBEDDING_USE)]
    if any(label == "Validation" for label, _ in loss.facts):
        lines += ["", *wrap(_FLATTERY, WIDTH)]
    return 'r"""' + "\n".join(lines) + '\n"""'


def _imports(functions: Sequence[Callable[..., Any]], class_text: str) -> str:
    used = {name for function in functions for name in _global_names(function)}
    lines = ["import math\n"] if "math" in used else []
    lines.append("import torch")
    if "F" in used or "F." in class_text:
        lines.append("import torch.nn.functional as F")
    lines.append("from torch import Tensor, nn")
    return "\n".join(lines)


def _with_callees(functions: Iterable[Callable[..., Any]]) -> list[Callable[..., Any]]:
    """Return our functions among these and all functions of ours that they call, each after its callees."""
    ordered: dict[Callable[..., Any], None] = {}

    def visit(function: Callable[..., Any]) -> None:
        if is_ours(function) and function not in ordered:
            module = OUR_MODULES[function.__module__]
            for name in _global_names(function):
                callee = getattr(module, name, None)
                if callee is not function and inspect.isfunction(callee):
                    visit(callee)
            ordered[function] = None

    for function in functions:
        visit(function)
    return list(ordered)


def _global_names(function: Callable[..., Any]) -> list[str]:
    """Return the global names that a function reads, in its own code and in that of the functions within it."""
    codes, names = [function.__code__], []
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
        names += [line.argval for line in dis.get_instructions(code) if line.opname == "LOAD_GLOBAL"]
    return names
