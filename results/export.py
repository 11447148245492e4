"""Export: a loss as one readable Python file that imports nothing but torch.

Invariant: the file is written from a parsed formula and from text that cannot end its docstring, so that no
string of a run becomes code. It contains the very functions that the search trained with.
"""

import dis
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from primitives import numerics
from primitives.formula import Formula
from primitives.latex import latex
from primitives.lowering import Program, lower
from primitives.parser import parse
from primitives.shapes import Shape
from results.atomic import write_whole_text
from results.leaderboard import Row
from results.statements import statements


def write_export(path: Path, row: Row, run: str) -> Path:
    """Write a leaderboard's row as a Python file, whole or not at all; returns the path.

    Raises ValueError where the row's text is no formula.
    """
    write_whole_text(path, export_source(row, run))
    return path


def export_source(row: Row, run: str) -> str:
    """Source of a file with one class, ``Loss``: the loss of a leaderboard's row."""
    formula = parse(row.formula)
    program = lower(formula)
    body = list(statements(program))
    parts = [
        _docstring(formula, row, run),
        "import torch\nimport torch.nn.functional as F\nfrom torch import Tensor, nn\n",
        *(_source(function) for function in _needed_functions(program)),
        _class(formula, program, body, row),
    ]
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts)


def _docstring(formula: Formula, row: Row, run: str) -> str:
    difference = row.difference_to_cross_entropy
    against = "" if difference is None else f", {difference:+.4f} against cross-entropy under the same seeds"
    found = "none" if row.fitness_mean is None else f"{row.fitness_mean:.4f} over {row.seeds} seeds{against}"
    lines = [
        f"Loss {_plain(row.loss_id)}: {formula}",
        "",
        f"LaTeX:        {latex(formula)}",
        f"Run:          {_plain(run)}",
        f"Task:         {_plain(row.task)}, {_plain(row.fidelity)}",
        f"Validation:   {found}",
        f"Born:         {_plain(row.birth)}, generation {row.generation}",
        f"Written by:   lossearch {_version()}, torch {_plain(torch.__version__)}",
        "License:      Apache-2.0",
        "",
        "A validation score by which the loss was chosen among many flatters it: test it on data and seeds of",
        "your own before you rely on it.",
    ]
    return 'r"""' + "\n".join(lines) + '\n"""'


def _plain(text: str) -> str:
    """Text without anything that could end a docstring or a line."""
    return re.sub(r"[^A-Za-z0-9 .,:;_+*/()=<>@-]", "?", text)


def _version() -> str:
    from importlib.metadata import version

    return version("lossearch")


# --- the functions that the file needs --------------------------------------------------------------


def _needed_functions(program: Program) -> list[Callable[..., Any]]:
    """Our functions that the program calls, each after the ones that it calls itself."""
    needed: dict[Callable[..., Any], None] = {}

    def visit(function: Callable[..., Any]) -> None:
        if getattr(function, "__module__", None) == numerics.__name__ and function not in needed:
            for name in _global_names(function):
                inner = getattr(numerics, name, None)
                if inner is not function and callable(inner):
                    visit(inner)
            needed[function] = None

    for step in program.steps:
        visit(step.function)
    return list(needed)


def _global_names(function: Callable[..., Any]) -> list[str]:
    return [each.argval for each in dis.get_instructions(function) if each.opname == "LOAD_GLOBAL"]


def _source(function: Callable[..., Any]) -> str:
    return inspect.getsource(function)


# --- the class --------------------------------------------------------------------------------------


def _class(formula: Formula, program: Program, body: list[str], row: Row) -> str:
    embeddings = formula.looks_at_embeddings
    signature = ["num_classes: int", "embedding_size: int"] if embeddings else []
    if "prior" in formula.names:
        signature.append("prior: Tensor")
    signature += ['reduction: str = "mean"', "ignore_index: int = -100", "calibrated: bool = False"]
    lines = [
        "class Loss(nn.Module):",
        f'    """{formula}',
        "",
        *(_EMBEDDING_DOC if embeddings else _LOGIT_DOC),
        "    ``reduction`` is mean, sum or none. ``calibrated`` multiplies by the factor that gave the loss",
        "    cross-entropy's first gradient size: then it trains at cross-entropy's learning rate.",
        '    """',
        "",
        f"    calibration = {row.calibration if row.calibration is not None else 1.0!r}",
        "",
        f"    def __init__(self, {', '.join(signature)}) -> None:",
        "        super().__init__()",
        '        if reduction not in ("mean", "sum", "none"):',
        '            raise ValueError(f"Expected reduction to be mean, sum or none, got {reduction!r}.")',
        "        self.reduction, self.ignore_index = reduction, ignore_index",
        "        self.scale = self.calibration if calibrated else 1.0",
    ]
    if embeddings:
        lines += _weights(formula)
    if "prior" in formula.names:
        lines.append('        self.register_buffer("prior", prior, persistent=False)')
    if "progress" in formula.names:
        lines += _PROGRESS
    lines += ["", *_TARGET, *(_EMBEDDING_FORWARD if embeddings else _LOGIT_FORWARD)]
    lines += _further_inputs(program)
    lines += [f"            {statement}" for statement in body]
    if program.shape is Shape.CLASS:
        lines.append("            value = (value + torch.zeros_like(y)).mean(1, keepdim=True)")
    lines += _REDUCTION
    if embeddings:
        lines += _get_logits(formula)
    return "\n".join(lines) + "\n"


def _weights(formula: Formula) -> list[str]:
    lines = [
        "        bound = embedding_size**-0.5",
        "        self.weight = nn.Parameter(torch.empty(num_classes, embedding_size).uniform_(-bound, bound))",
    ]
    if "dist2" in formula.names:
        lines.append(
            "        self.centers = nn.Parameter(torch.empty(num_classes, embedding_size).uniform_(-bound, bound))"
        )
    return lines


def _further_inputs(program: Program) -> list[str]:
    lines = []
    inputs = set(program.inputs)
    if "counted" in inputs:
        lines.append("            counted = kept.to(logits.dtype)")
    if "centers" in inputs:
        lines.append("            centers = self.centers.to(logits.dtype)")
    if "num_classes" in inputs:
        lines.append("            num_classes = logits.new_tensor(float(logits.shape[1]))")
    if "progress" in inputs:
        lines.append("            progress = self.progress.to(logits)")
    if "class_frequencies" in inputs:
        lines.append("            class_frequencies = self.prior.to(logits)")
    return lines


def _get_logits(formula: Formula) -> list[str]:
    names = [name for name in ("cosine", "z", "p", "dist2") if name in formula.names]
    result = {
        "cosine": "F.normalize(embeddings, dim=1) @ F.normalize(self.weight, dim=1).T",
        "dist2": "-torch.cdist(embeddings, self.centers).square()",
    }.get(names[0] if names else "z", "F.linear(embeddings, self.weight)")
    return [
        "",
        "    def get_logits(self, embeddings: Tensor) -> Tensor:",
        '        """Scores [batch, num_classes] whose largest is the predicted class."""',
        f"        return {result}",
    ]


_LOGIT_DOC = [
    "    Logits [batch, classes, ...] against class indices [batch, ...] or probabilities of the logits' shape.",
]
_EMBEDDING_DOC = [
    "    Embeddings [batch, embedding_size] against class indices [batch] or probabilities [batch, num_classes].",
    "    The class weights are parameters: give them to the optimiser.",
]
_PROGRESS = [
    '        self.register_buffer("progress", torch.tensor(0.0), persistent=False)',
    "",
    "    def set_progress(self, progress: float) -> None:",
    '        """Say how far the training is, from 0 to 1."""',
    "        self.progress.fill_(progress)",
]
_LOGIT_FORWARD = [
    "    def forward(self, logits: Tensor, target: Tensor) -> Tensor:",
    "        with torch.autocast(logits.device.type, enabled=False):",
    "            logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits",
    "            y, kept = self.target_of(target, logits)",
    "            logits = logits.masked_fill(~kept, 0.0)",
]
_EMBEDDING_FORWARD = [
    "    def forward(self, embeddings: Tensor, target: Tensor) -> Tensor:",
    "        with torch.autocast(embeddings.device.type, enabled=False):",
    "            half = embeddings.dtype in (torch.float16, torch.bfloat16)",
    "            embeddings = embeddings.float() if half else embeddings",
    "            weight = self.weight.to(embeddings.dtype)",
    "            y, kept = self.target_of(target, F.linear(embeddings, weight))",
    "            embeddings = embeddings.masked_fill(~kept, 0.0)",
    "            logits = F.linear(embeddings, weight)",
]
_TARGET = [
    "    def target_of(self, target: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:",
    '        """Target distribution in the logits\' shape, and which samples count, [batch, 1, ...]."""',
    "        if target.is_floating_point():",
    "            if target.shape != logits.shape:",
    '                raise ValueError(f"Expected probabilities {list(logits.shape)}, got {list(target.shape)}.")',
    "            return target.to(logits.dtype), torch.ones_like(logits[:, :1], dtype=torch.bool)",
    "        if target.shape != logits[:, 0].shape:",
    '            raise ValueError(f"Expected class indices {list(logits[:, 0].shape)}, got {list(target.shape)}.")',
    "        index = target.unsqueeze(1)",
    "        kept = index != self.ignore_index",
    "        return torch.zeros_like(logits).scatter(1, index.masked_fill(~kept, 0), 1.0), kept",
    "",
]
_REDUCTION = [
    "            per_sample = torch.where(kept, self.scale * value, 0.0).squeeze(1)",
    '            if self.reduction == "none":',
    "                return per_sample",
    '            return per_sample.sum() if self.reduction == "sum" else per_sample.sum() / kept.sum()',
]
