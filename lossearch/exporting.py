"""Exports a loss of a run, a known loss, a formula or a module as a file that needs nothing of ours."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossearch.losses import formula_with
from lossearch.losses import loss as module_of
from primitives.catalog import known_loss
from primitives.errors import UserError
from primitives.nearest import nearest
from primitives.parser import valid_name
from primitives.torch_loss import EmbeddingLoss, FormulaLoss, is_number
from results.atomic import write_whole_text
from results.export import write_export
from results.exportable import Exportable, of_formula, of_known, of_module
from results.graph_export import FORMATS, write_graph
from results.leaderboard import Entry
from results.model_card import Evidence, model_card

_SUFFIXES = {".py": "py", ".onnx": "onnx", ".pt2": "pt2"}


def export(
    loss: "str | FormulaLoss | Entry",
    path: str | Path,
    *,
    format: str | None = None,
    card: bool = False,
    num_classes: int | None = None,
    embedding_size: int | None = None,
    **hyperparameters: Any,
) -> Path:
    """Write a loss as a file that needs nothing of lossearch; returns its path.

    ``loss`` is the name of a known loss, a formula, a module of ``lossearch.loss`` or an entry of a leaderboard.
    ``format`` is "py" (a Python file with a class ``Loss`` that imports torch alone), "onnx" or "pt2" (a graph over
    inputs and class indices [batch], of any batch size; a graph of a loss over logits needs ``num_classes``); left
    out, the path's ending says it. Of a module, a Python file has the hyper-parameters and options as defaults, and
    takes ``weight`` and ``prior`` as arguments; a graph has its tensors, too. ``card`` writes a model card beside it,
    with the ending .md. Hyper-parameters are those of ``lossearch.loss``. Raises UserError, a ValueError, for what
    cannot be exported so.
    """
    path = Path(path)
    form = format_of(path, format)
    if card and path.suffix == ".md":
        raise UserError(f"Expected a path with another ending than .md, the model card's, got {str(path)!r}.")
    exportable = _exportable(loss, hyperparameters)
    page = model_card(exportable, evidence_of(loss)) if card else None
    if form == "py":
        write_export(path, exportable)
    else:
        module = _module(loss, num_classes, embedding_size, hyperparameters)
        classes = module.num_classes if isinstance(module, EmbeddingLoss) else num_classes
        if not isinstance(classes, int) or classes < 1:
            raise UserError(
                f"Expected num_classes=..., a whole number above 0, for the format {form}, got {classes!r}: a graph "
                "has a fixed number of classes."
            )
        write_graph(path, module, classes, form)
    if page is not None:
        write_whole_text(path.with_suffix(".md"), page)
    return path


def format_of(path: Path, format: str | None) -> str:
    """The format asked for, else the one of the path's ending. Raises UserError for an unknown one."""
    known = ("py", *FORMATS)
    if format is None and path.suffix not in _SUFFIXES:
        raise UserError(f"Expected a path that ends in {', '.join(_SUFFIXES)}, or format=..., got {str(path)!r}.")
    chosen = format if format is not None else _SUFFIXES[path.suffix]
    if chosen not in known:
        raise UserError(f"Unknown format {chosen!r}{nearest(chosen, known)}")
    return chosen


def evidence_of(loss: "str | FormulaLoss | Entry") -> Evidence | None:
    """What a run says about an entry of its leaderboard; None for a loss that is of no run."""
    if not isinstance(loss, Entry) or loss.board is None:
        return None
    return Evidence(loss.row, loss.board.rows, loss.board.evaluations, _trial_of(loss))


def _trial_of(entry: Entry) -> dict[str, float] | None:
    """The trial under fresh seeds that the run's log tells of, if it was this loss's."""
    assert entry.board is not None
    log = entry.board.path / "log.jsonl"
    if not log.exists():
        return None
    found = None
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # a line that was cut off
            continue
        if isinstance(event, dict) and event.get("best") == entry.row.loss_id and _is_trial(event.get("trial")):
            found = event["trial"]
    return found


def _is_trial(facts: Any) -> bool:
    """Whether these are the numbers of a trial: a log may be a stranger's."""
    names = ("fitness", "cross_entropy", "difference", "difference_std", "seeds")
    numbers = [facts.get(name) for name in names] if isinstance(facts, dict) else [None]
    return all(is_number(each) and math.isfinite(each) for each in numbers) and facts["seeds"] >= 1


def _exportable(loss: "str | FormulaLoss | Entry", hyperparameters: Mapping[str, Any]) -> Exportable:
    if isinstance(loss, str):
        if valid_name(loss):
            known = known_loss(loss)
            return of_known(known, known.values(hyperparameters))
        formula = formula_with(loss, hyperparameters)
        return of_formula(formula, {name: float(value) for name, value in hyperparameters.items()})
    if not isinstance(loss, FormulaLoss | Entry):
        raise UserError(
            "Expected the name of a loss, a formula, a loss module or an entry of a leaderboard, got "
            f"{type(loss).__name__}."
        )
    if hyperparameters:
        name = next(iter(hyperparameters))
        raise UserError(f"Expected hyper-parameters beside a name or a formula alone, got {name} beside a loss.")
    return loss.exportable() if isinstance(loss, Entry) else of_module(loss)


def _module(
    loss: "str | FormulaLoss | Entry",
    num_classes: int | None,
    embedding_size: int | None,
    hyperparameters: Mapping[str, Any],
) -> FormulaLoss:
    """The module whose graph is written: the one that is given, or a new one."""
    if isinstance(loss, FormulaLoss):
        return loss
    if isinstance(loss, Entry):
        return loss.loss(num_classes=num_classes, embedding_size=embedding_size)
    return module_of(loss, num_classes=num_classes, embedding_size=embedding_size, **hyperparameters)
