"""Export: a loss as one readable Python file that imports nothing but torch.

Invariant: the file is written from a parsed formula and from text that cannot end its docstring, so that no
string of a run becomes code. It contains the very functions that the search trained with.
"""

import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from primitives.latex import latex
from primitives.lowering import lower, lower_logits
from primitives.scores import scores
from results.atomic import write_whole_text
from results.copied import global_names, is_ours, source, with_what_they_call
from results.exportable import Exportable
from results.exported_class import class_source, helpers, index_program
from results.inlining import one_line

_LICENSE = "SPDX-License-Identifier: Apache-2.0"


def write_export(path: Path, loss: Exportable) -> Path:
    """Write a loss as a Python file, whole or not at all; returns the path."""
    write_whole_text(path, export_source(loss))
    return path


def export_source(loss: Exportable) -> str:
    """Source of a file with one class, ``Loss``."""
    programs = [index_program(loss), lower(loss.formula)]
    if loss.over_embeddings:
        programs.append(lower_logits(scores(loss.formula)))
    called = [step.function for program in programs for step in program.steps if is_ours(step.function)]
    functions = with_what_they_call([*(each for each in called if one_line(each) is None), *helpers(loss)])
    top = f"# {_LICENSE}\n{_docstring(loss)}\n\n{_imports(functions, class_source(loss))}"
    parts = [top, class_source(loss), "# What the loss is computed with, and its contract.", *map(source, functions)]
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts)


def _docstring(loss: Exportable) -> str:
    values = ", ".join(f"{name} = {value:g}" for name, value in loss.hyperparameters.items())
    facts = [
        ("LaTeX", latex(loss.formula)),
        *((("Defaults", values),) if values else ()),
        *((label, plain(text)) for label, text in loss.facts),
        ("Written by", written_by()),
        ("License", "Apache-2.0"),
    ]
    width = max(len(label) for label, _ in facts) + 2
    lines = [
        f"Loss {plain(loss.title)}: {loss.formula}",
        "",
        *(f"{label + ':':{width}}{text}" for label, text in facts),
    ]
    if any(label == "Validation" for label, _ in loss.facts):
        lines += [
            "",
            "A validation score by which the loss was chosen among many flatters it: test it on data and seeds of",
            "your own before you rely on it.",
        ]
    return 'r"""' + "\n".join(lines) + '\n"""'


def written_by() -> str:
    """The versions that wrote a file."""
    return f"lossearch {version('lossearch')}, torch {plain(torch.__version__)}"


def plain(text: str) -> str:
    """Text without anything that could end a docstring or a line."""
    return re.sub(r"[^A-Za-z0-9 .,:;_+*/()=<>@-]", "?", text)


def _imports(functions: list[Callable[..., Any]], class_text: str) -> str:
    used = {name for function in functions for name in global_names(function)}
    lines = ["import math\n"] if "math" in used else []
    lines.append("import torch")
    if "F" in used or "F." in class_text:
        lines.append("import torch.nn.functional as F")
    lines.append("from torch import Tensor, nn")
    return "\n".join(lines)
