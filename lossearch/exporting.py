"""Exports a loss of a run, a known loss, a formula or a module as a file that needs nothing of ours."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lossearch.evaluators.screening.screening import rejection
from lossearch.evaluators.tasks import TASKS
from lossearch.loss_module import formula_with
from lossearch.primitives.catalog import known_loss
from lossearch.primitives.catalog.loss import MODULE_OPTIONS
from lossearch.primitives.errors import Argument, UserError, as_user_errors, nearest
from lossearch.primitives.language.parser import valid_name
from lossearch.primitives.modules.contract import count
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss, LogitLoss, loss_module
from lossearch.results.export.exportable import Exportable, of_formula, of_known, of_module, options_of
from lossearch.results.export.graph import FORMATS, write_graph
from lossearch.results.export.model_card import Evidence, model_card
from lossearch.results.export.python_file import write_export
from lossearch.results.findings.explanation import folder_of, read_explanation
from lossearch.results.findings.verdict_table import read_verdicts
from lossearch.results.leaderboard import Entry
from lossearch.results.records import loss_id
from lossearch.results.storage.atomic import write_whole_text

# --- Graph module: the module whose graph is exported, and what the graph fixes of it.

RANDOM = "The class weights of the graph are random: train a module of the loss, and export it."


def graph_module(
    loss: "str | FormulaLoss | Entry",
    exportable: Exportable,
    num_classes: int | None,
    embedding_size: int | None,
    tensors: Mapping[str, Any],
) -> FormulaLoss:
    """The module whose graph is written: the one that is given, or a new one. Raises UserError for other sizes."""
    if embedding_size is not None and not exportable.over_embeddings:
        raise UserError(
            f"Expected embedding_size for a loss over embeddings alone, {exportable.formula} is over logits."
        )
    if isinstance(loss, FormulaLoss):
        for name, size in (("num_classes", num_classes), ("embedding_size", embedding_size)):
            own = getattr(loss, name, None)
            if size is not None and own is not None and size != own:
                raise UserError(f"Expected {name} {own}, the module's, got {size}. Leave it out.")
        return loss
    factor = exportable.scale * (1.0 if exportable.calibration is None else exportable.calibration)
    options: dict[str, Any] = {name: getattr(exportable, name) for name in ("reduction", "ignore_index")}
    options |= {"label_smoothing": exportable.label_smoothing, "scale": factor}
    if exportable.over_embeddings:
        options |= {"class_weights": exportable.class_weights, "fine_tune_from": exportable.fine_tune_from}
        options |= {"sub_centers": exportable.sub_centers} if exportable.class_weights == "sub_centers" else {}
    return loss_module(
        exportable.formula,
        exportable.hyperparameters,
        num_classes=num_classes,
        embedding_size=embedding_size,
        **options,
        **tensors,
    )


def fixed_in_graph(loss: "str | FormulaLoss | Entry", module: FormulaLoss, classes: int) -> Iterator[str]:
    """What of a module is fixed in its graph."""
    names = module.formula.names
    if isinstance(module, EmbeddingLoss):
        yield f"The graph is for {classes} classes and embeddings of size {module.embedding_size}."
        if module is loss:
            yield "Its class weights are those of the module at the export."
        elif module.class_weights.kind != "pedcc":
            yield RANDOM
    else:
        yield f"The graph is for {classes} classes."
    if "prior" in names and module.prior is not None:
        yield f"Its prior is {', '.join(f'{share:g}' for share in module.prior.tolist()[:20])}."
    if "progress" in names:
        yield f"Its progress stays at {float(module.progress):g}, whatever the training: a Python file can be told."


def graph_classes(module: FormulaLoss, num_classes: int | None, form: str) -> int:
    """How many classes a graph has. Raises UserError where nothing says it."""
    own = getattr(module, "num_classes", None)
    if own is None and num_classes is None:
        raise UserError(
            "Expected ",
            Argument("num_classes", "..."),
            f" for the format {form}: a graph has a fixed number of classes.",
        )
    given: Any = own if own is not None else num_classes
    return count("num_classes", given)


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
    if not path.parent.is_dir():
        raise UserError(f"Expected a path in a directory that exists, got {str(path)!r}. Make the directory first.")
    if not calibrated and not isinstance(loss, Entry):
        raise UserError(
            "Expected ",
            Argument("calibrated", "False"),
            " beside an entry of a leaderboard: no other loss has a factor.",
        )
    with as_user_errors():
        exportable, measured = _exportable(loss, options, form)
        exportable = _with_factor(exportable, calibrated, form)
        if form == "py":
            _require_no_sizes(exportable, num_classes, embedding_size)
            exportable = replace(exportable, limits=tuple(_left_out(loss)))
            write_export(path, exportable)
        else:
            tensors = {name: options[name] for name in _ARGUMENTS if name in options}
            module = graph_module(loss, exportable, num_classes, embedding_size, tensors)
            classes = graph_classes(module, num_classes, form)
            exportable = replace(exportable, limits=tuple(fixed_in_graph(loss, module, classes)))
            write_graph(path, module, classes, form, exportable)
    if card:
        evidence = evidence_of(loss) if measured else None
        page = model_card(exportable, path.name, form, evidence, _rejection(exportable))
        write_whole_text(card_path(path), page)
    for limit in exportable.limits:
        if limit in _WORTH_A_WARNING:
            warnings.warn(limit, stacklevel=2)
    return path


def card_path(path: Path) -> Path:
    """Where the model card of a file is written."""
    return path.with_name(f"{path.name}.md")


def format_of(path: Path, format: str | None) -> str:
    """The format asked for, else the one of the path's ending. Raises UserError for an unknown one, or for both."""
    known = ("py", *FORMATS)
    of_suffix = _SUFFIXES.get(path.suffix)
    if format is None and of_suffix is None:
        raise UserError(
            f"Expected a path that ends in {', '.join(_SUFFIXES)}, or ",
            Argument("format", "..."),
            f", got {str(path)!r}.",
        )
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
    explanation = read_explanation(folder_of(loss.board.path, loss_id(loss.row.formula, loss.row.class_weights)))
    table = read_verdicts(loss.board.path / "verdict")
    verdicts = [] if table is None else table.of_loss(loss.row.rank, loss.row.formula)
    return Evidence(loss.row, loss.board.rows, loss.board.evaluations, loss.trial, samples, explanation, verdicts)


def _exportable(loss: "str | FormulaLoss | Entry", options: Mapping[str, Any], form: str) -> tuple[Exportable, bool]:
    """The loss with the hyper-parameters and options that are given, and whether it is one that a run measured."""
    if isinstance(loss, FormulaLoss):
        if options:
            raise UserError(
                f"Expected options beside a name, a formula or an entry, got {next(iter(options))} beside a module. "
                "Give it to the module."
            )
        return of_module(loss), False
    if not isinstance(loss, str | Entry):
        raise UserError(
            "Expected the name of a loss, a formula, a loss module or an entry of a leaderboard, got "
            f"{type(loss).__name__}."
        )
    values = {name: value for name, value in options.items() if name not in MODULE_OPTIONS}
    constants = {name: options[name] for name in options if name in MODULE_OPTIONS and name not in _ARGUMENTS}
    if isinstance(loss, Entry):
        measured = loss.exportable()
        exportable = _with_options(measured.with_values(values), constants)
        same = exportable == measured
        exportable = exportable if same else exportable.changed_from(measured)
    elif valid_name(loss):
        known = known_loss(loss)
        exportable, same = _with_options(of_known(known, known.values(values)), constants), False
    else:
        formula = formula_with(loss, values)
        numbers = {name: float(value) for name, value in values.items()}
        exportable, same = _with_options(of_formula(formula, numbers), constants), False
    for name in _ARGUMENTS:
        if name in options and form == "py":
            raise UserError(f"Expected {name} for a graph alone{_as_argument(name, exportable)}.")
    return exportable, same


def _as_argument(name: str, loss: Exportable) -> str:
    """A clause where the class of a Python file takes this as an argument."""
    takes = {
        "prior": "prior" in loss.formula.names,
        "weight": not loss.over_embeddings,
        "num_classes": loss.over_embeddings,
        "embedding_size": loss.over_embeddings,
    }
    return ": the class of a Python file takes it as an argument" if takes.get(name, False) else ""


def _with_options(exportable: Exportable, options: Mapping[str, Any]) -> Exportable:
    """The loss with options of a module, which a small module of it checks."""
    if not options:
        return exportable
    merged = dict(options)
    if exportable.over_embeddings:
        merged |= {"generator": torch.Generator()}
        merged.setdefault("class_weights", exportable.class_weights)
    module = loss_module(
        exportable.formula, exportable.hyperparameters, num_classes=2, embedding_size=4, prior=[0.5, 0.5], **merged
    )
    return replace(exportable, **options_of(module))


def _with_factor(exportable: Exportable, calibrated: bool, form: str) -> Exportable:
    """The loss with or without the factor of its run, and a word on it."""
    if exportable.calibration is None:
        return exportable
    word = "applied unless calibrated=False" if form == "py" else "applied"
    text = f"{exportable.calibration!r}, {word if calibrated else 'left out'}"
    facts = tuple((label, text if label == "Calibration" else fact) for label, fact in exportable.facts)
    return replace(exportable, facts=facts, calibration=exportable.calibration if calibrated else None)


_WITHOUT_WEIGHT = "The module's weight is not in the file: give it to Loss(weight=...)."
_WITHOUT_CLASS_WEIGHTS = "The module's class weights are not in the file: Loss.load_state_dict takes its state_dict."
_WORTH_A_WARNING = {RANDOM, _WITHOUT_WEIGHT, _WITHOUT_CLASS_WEIGHTS}


def _left_out(loss: "str | FormulaLoss | Entry") -> Iterator[str]:
    """What of a module is not in its Python file."""
    if isinstance(loss, LogitLoss) and loss.weight is not None:
        yield _WITHOUT_WEIGHT
    if isinstance(loss, EmbeddingLoss) and loss.class_weights.learned_at(1.0):
        yield _WITHOUT_CLASS_WEIGHTS


def _require_no_sizes(exportable: Exportable, num_classes: int | None, embedding_size: int | None) -> None:
    for name, size in (("num_classes", num_classes), ("embedding_size", embedding_size)):
        if size is not None:
            raise UserError(f"Expected {name} for a graph alone{_as_argument(name, exportable)}.")


def _rejection(exportable: Exportable) -> str | None:
    """Why the search's screening would reject the loss."""
    bound = exportable.formula.bind(exportable.hyperparameters)
    return rejection(bound, exportable.class_weights if exportable.over_embeddings else None)
