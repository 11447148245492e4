"""Exports a loss of a run, a known loss, a formula or a module as a file that needs nothing of ours."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluators.screening import rejection
from evaluators.tasks import TASKS
from lossearch.losses import formula_with
from primitives.catalog import known_loss
from primitives.errors import UserError
from primitives.loss import MODULE_OPTIONS
from primitives.nearest import nearest
from primitives.parser import valid_name
from primitives.torch_loss import FormulaLoss, loss_module
from results.atomic import write_whole_text
from results.export import write_export
from results.exportable import Exportable, of_formula, of_known, of_module, options_of
from results.graph_export import FORMATS, write_graph
from results.leaderboard import Entry
from results.model_card import Evidence, model_card

_SUFFIXES = {".py": "py", ".onnx": "onnx", ".pt2": "pt2"}

#: Options of a module that are no constants: a Python file takes them as arguments of its class.
_ARGUMENTS = ("prior", "weight", "generator")


def export(
    loss: "str | FormulaLoss | Entry",
    path: str | Path,
    *,
    format: str | None = None,
    card: bool = False,
    num_classes: int | None = None,
    embedding_size: int | None = None,
    calibrated: bool = True,
    **options: Any,
) -> Path:
    """Write a loss as a file that needs nothing of lossearch, in the place of one that is there; returns its path.

    ``loss`` is the name of a known loss, a formula, a module of ``lossearch.loss`` or an entry of a leaderboard.
    ``format`` is "py", a Python file with a class ``Loss`` that imports torch alone, "onnx" or "pt2", a graph over
    inputs and class indices [batch], of any batch size; left out, the path's ending says it. ``card`` writes a model
    card beside it: ``my_loss.py.md`` for ``my_loss.py``.

    ``options`` are hyper-parameters and options as ``lossearch.loss`` has them; a module has its own already. A Python
    file takes them as defaults of its arguments, but for ``prior`` and ``weight``, which have none. A graph needs
    ``num_classes``, and over embeddings ``embedding_size``, unless a module says them; its class weights are the
    module's, else random, which is warned of. The factor of a leaderboard's entry is left out where ``calibrated`` is
    False. Raises UserError, a ValueError, for what cannot be exported so.
    """
    path = Path(path)
    form = format_of(path, format)
    if form == "py":
        _require_no_sizes(num_classes, embedding_size)
    exportable = _exportable(loss, options, form)
    if not calibrated:
        exportable = replace(exportable, calibration=None)
    page = None
    if card:
        page = model_card(exportable, f"{path.stem}.{form}", evidence_of(loss), _rejection(exportable))
    if form == "py":
        write_export(path, exportable)
    else:
        tensors = {name: options[name] for name in _ARGUMENTS if name in options}
        module = loss if isinstance(loss, FormulaLoss) else None
        module = _module(exportable, module, num_classes, embedding_size, tensors)
        write_graph(path, module, _classes(module, num_classes, form), form, exportable)
    if page is not None:
        write_whole_text(card_path(path), page)
    return path


def card_path(path: Path) -> Path:
    """Where the model card of a file is written."""
    return path.with_name(f"{path.name}.md")


def format_of(path: Path, format: str | None) -> str:
    """The format asked for, else the one of the path's ending. Raises UserError for an unknown one, or for both."""
    known = ("py", *FORMATS)
    of_suffix = _SUFFIXES.get(path.suffix)
    if format is None and of_suffix is None:
        raise UserError(f"Expected a path that ends in {', '.join(_SUFFIXES)}, or format=..., got {str(path)!r}.")
    chosen = format if format is not None else str(of_suffix)
    if chosen not in known:
        raise UserError(f"Unknown format {chosen!r}{nearest(chosen, known)}")
    if of_suffix is not None and of_suffix != chosen:
        raise UserError(f"Expected a path that ends in .{chosen}, as the format, got {str(path)!r}.")
    return chosen


def evidence_of(loss: "str | FormulaLoss | Entry") -> Evidence | None:
    """What a run says about an entry of its leaderboard; None for a loss that is of no run."""
    if not isinstance(loss, Entry) or loss.board is None:
        return None
    task = TASKS.get(loss.row.task)
    samples = len(task.load().validation) if task is not None and not task.needs_download else None
    return Evidence(loss.row, loss.board.rows, loss.board.evaluations, loss.trial, samples)


def _exportable(loss: "str | FormulaLoss | Entry", options: Mapping[str, Any], form: str) -> Exportable:
    """The loss with the hyper-parameters and options that are given."""
    if isinstance(loss, FormulaLoss):
        if options:
            raise UserError(
                f"Expected options beside a name, a formula or an entry, got {next(iter(options))} beside a module. "
                "Give it to the module."
            )
        return of_module(loss)
    values = {name: value for name, value in options.items() if name not in MODULE_OPTIONS}
    constants = {name: options[name] for name in options if name in MODULE_OPTIONS and name not in _ARGUMENTS}
    for name in _ARGUMENTS:
        if name in options and form == "py":
            raise UserError(f"Expected {name} for a graph alone: the class of a Python file takes it as an argument.")
    if isinstance(loss, Entry):
        return _with_options(loss.exportable().with_values(values), constants)
    if not isinstance(loss, str):
        raise UserError(
            "Expected the name of a loss, a formula, a loss module or an entry of a leaderboard, got "
            f"{type(loss).__name__}."
        )
    if valid_name(loss):
        known = known_loss(loss)
        return _with_options(of_known(known, known.values(values)), constants)
    formula = formula_with(loss, values)
    return _with_options(of_formula(formula, {name: float(value) for name, value in values.items()}), constants)


def _with_options(exportable: Exportable, options: Mapping[str, Any]) -> Exportable:
    """The loss with options of a module, which a small module of it checks."""
    if not options:
        return exportable
    merged = dict(options)
    if exportable.over_embeddings:
        merged.setdefault("class_weights", exportable.class_weights)
    module = loss_module(
        exportable.formula, exportable.hyperparameters, num_classes=2, embedding_size=4, prior=[0.5, 0.5], **merged
    )
    return replace(exportable, **options_of(module))


def _module(
    exportable: Exportable,
    module: FormulaLoss | None,
    num_classes: int | None,
    embedding_size: int | None,
    tensors: Mapping[str, Any],
) -> FormulaLoss:
    """The module whose graph is written: the one that is given, or a new one. Raises UserError for other sizes."""
    for name, size in (("num_classes", num_classes), ("embedding_size", embedding_size)):
        own = getattr(module, name, None)
        if size is not None and own is not None and size != own:
            raise UserError(f"Expected {name} {own}, the module's, got {size}. Leave it out.")
    if embedding_size is not None and not exportable.over_embeddings:
        raise UserError(
            f"Expected embedding_size for a loss over embeddings alone, {exportable.formula} is over logits."
        )
    if module is not None:
        return module
    options: dict[str, Any] = {name: getattr(exportable, name) for name in ("reduction", "ignore_index")}
    options |= {"label_smoothing": exportable.label_smoothing, "scale": exportable.calibration or 1.0}
    if exportable.over_embeddings:
        options |= {"class_weights": exportable.class_weights, "fine_tune_from": exportable.fine_tune_from}
        options |= {"sub_centers": exportable.sub_centers} if exportable.class_weights == "sub_centers" else {}
    made = loss_module(
        exportable.formula,
        exportable.hyperparameters,
        num_classes=num_classes,
        embedding_size=embedding_size,
        **options,
        **tensors,
    )
    if exportable.over_embeddings and exportable.class_weights != "pedcc":
        warnings.warn(
            "The class weights of the graph are random: train a module of the loss, and export it.", stacklevel=3
        )
    return made


def _classes(module: FormulaLoss, num_classes: int | None, form: str) -> int:
    """How many classes a graph has. Raises UserError where nothing says it."""
    own = getattr(module, "num_classes", None)
    classes = own if own is not None else num_classes
    if not isinstance(classes, int) or classes < 1:
        raise UserError(
            f"Expected num_classes=..., a whole number above 0, for the format {form}, got {classes!r}: a graph "
            "has a fixed number of classes."
        )
    return classes


def _require_no_sizes(*sizes: int | None) -> None:
    for name, size in zip(("num_classes", "embedding_size"), sizes, strict=True):
        if size is not None:
            raise UserError(f"Expected {name} for a graph alone: the class of a Python file takes it as an argument.")


def _rejection(exportable: Exportable) -> str | None:
    """Why the search's screening would reject the loss."""
    bound = exportable.formula.bind(exportable.hyperparameters)
    return rejection(bound, exportable.class_weights if exportable.over_embeddings else None)
