"""Export: a loss as one readable Python file that imports nothing but torch.

Invariant: the file is written from a parsed formula and from text that cannot end its docstring, so that no
string of a run becomes code. It contains the very functions that the search trained with.
"""

import dis
import inspect
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from textwrap import wrap
from typing import Any

import torch

from lossearch.primitives.language.formula import latex
from lossearch.results.export.class_source import WIDTH, class_source, helpers
from lossearch.results.export.exportable import Exportable
from lossearch.results.export.forward_source import programs
from lossearch.results.export.statements import _MODULES, is_ours, one_line
from lossearch.results.plain_text import plain
from lossearch.results.storage.atomic import write_whole_text

_LICENSE = "SPDX-License-Identifier: Apache-2.0"

_FLATTERED = (
    "A validation score by which the loss was chosen among many flatters it: test it on data and seeds of your own "
    "before you rely on it."
)


def write_export(path: Path, loss: Exportable) -> Path:
    """Write a loss as a Python file, whole or not at all; returns the path."""
    write_whole_text(path, export_source(loss))
    return path


def export_source(loss: Exportable) -> str:
    """Source of a file with one class, ``Loss``."""
    called = [step.function for program in programs(loss) for step in program.steps if is_ours(step.function)]
    functions = with_what_they_call([*(each for each in called if one_line(each) is None), *helpers(loss)])
    top = f"# {_LICENSE}\n{_docstring(loss)}\n\n{_imports(functions, class_source(loss))}"
    parts = [top, class_source(loss), "# What the loss is computed with, and its contract.", *map(source, functions)]
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts)


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
    if any(label == "Validation" for label, _ in loss.facts):
        lines += ["", *wrap(_FLATTERED, WIDTH)]
    return 'r"""' + "\n".join(lines) + '\n"""'


def written_by() -> str:
    """The versions that wrote a file."""
    return f"lossearch {version('lossearch')}, torch {plain(torch.__version__)}"


def _imports(functions: list[Callable[..., Any]], class_text: str) -> str:
    used = {name for function in functions for name in global_names(function)}
    lines = ["import math\n"] if "math" in used else []
    lines.append("import torch")
    if "F" in used or "F." in class_text:
        lines.append("import torch.nn.functional as F")
    lines.append("from torch import Tensor, nn")
    return "\n".join(lines)


# --- Copied functions: the source of our own functions that an exported file contains, each after what it calls.
#
# Invariant: only functions of the modules below are copied. They need torch and the standard library's math
# alone.


def with_what_they_call(functions: Iterable[Callable[..., Any]]) -> list[Callable[..., Any]]:
    """Our functions among these and all that they call of ours, each after the ones that it calls."""
    needed: dict[Callable[..., Any], None] = {}

    def visit(function: Callable[..., Any]) -> None:
        if is_ours(function) and function not in needed:
            module = _MODULES[function.__module__]
            for name in global_names(function):
                inner = getattr(module, name, None)
                if inner is not function and inspect.isfunction(inner):
                    visit(inner)
            needed[function] = None

    for each in functions:
        visit(each)
    return list(needed)


def global_names(function: Callable[..., Any]) -> list[str]:
    """Names outside of a function that it looks up, in its own code and in that of the functions within."""
    codes, names = [function.__code__], []
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
        names += [each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL"]
    return names


def source(function: Callable[..., Any]) -> str:
    """Source of a function, as it stands."""
    return inspect.getsource(function)
