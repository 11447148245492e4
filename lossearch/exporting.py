"""Export of a loss of a run, a known loss, a formula or a module as a file that does not need lossearch."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lossearch.evaluators.screening.screening import rejection, require_varying
from lossearch.evaluators.tasks import TASKS
from lossearch.loss_module import formula_with, require_known_options
from lossearch.primitives.arguments import refuse_unknown_arguments, require_flag, require_path, require_whole
from lossearch.primitives.catalog import known_loss
from lossearch.primitives.errors import Argument, UserError, WrongType, as_user_errors, describe, nearest, shown
from lossearch.primitives.language.parser import valid_name
from lossearch.primitives.modules.contract import count
from lossearch.primitives.modules.options import MODULE_OPTIONS
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss, loss_module
from lossearch.results.export.exportable import Exportable, of_formula, of_known, of_module, options_of
from lossearch.results.export.graph import FORMATS, write_graph
from lossearch.results.export.model_card import Evidence, model_card
from lossearch.results.export.python_file import write_export
from lossearch.results.export.replacing import require_replaceable
from lossearch.results.findings.explanation import folder_of, read_explanation
from lossearch.results.leaderboard import Entry
from lossearch.results.records import loss_id
from lossearch.results.storage.atomic import write_whole_text

_SUFFIXES = {".py": "py", ".onnx": "onnx", ".pt2": "pt2"}

#: Names that an option or hyper-parameter cannot have: arguments of ``export``.
ARGUMENTS = ("format", "card", "num_classes", "embedding_size", "calibrated", "force")

#: Options of a module that are no constants. The class in a Python file takes them as arguments.
_TENSORS = ("prior", "weight", "generator")

_RANDOM_CLASS_WEIGHTS = "The class weights of the graph are random: train a module of the loss, and export it."
_WITHOUT_WEIGHT = "The module's weight is not in the file: give it to Loss(weight=...)."
_WITHOUT_CLASS_WEIGHTS = "The module's class weights are not in the file: Loss.load_state_dict takes its state_dict."

#: Largest sizes of a graph, and most numbers among its class weights or in its example: one GiB of them.
_LARGEST = {"num_classes": 2**24, "embedding_size": 2**20}
_MOST_NUMBERS = 2**28

#: Limits that are also warned of. The other limits are on the model card alone.
_WARNINGS = {_RANDOM_CLASS_WEIGHTS, _WITHOUT_WEIGHT, _WITHOUT_CLASS_WEIGHTS}


@refuse_unknown_arguments
def export(
    loss: "str | FormulaLoss | Entry",
    path: str | Path,
    *,
    format: str | None = None,
    card: bool = False,
    num_classes: int | None = None,
    embedding_size: int | None = None,
    calibrated: bool = True,
    force: bool = False,
    **options: Any,
) -> Path:
    """Write a loss as a file that does not need lossearch, and return its path.

    An earlier export at the path is replaced. A file that holds anything else is replaced only with ``force``.

    ``loss`` is the name of a known loss, a formula, a module of ``lossearch.loss`` or an entry of a leaderboard, such
    as ``board.best()``, the judged loss with its tuned numbers.
    ``format`` is "py", "onnx" or "pt2"; by default the ending of the path decides. "py" is a Python file with a class
    ``Loss`` that imports only torch. The others are graphs over inputs [batch, classes] or [batch, embedding_size] and
    class indices [batch], for any batch size. ``card`` writes a model card beside the file: ``my_loss.py.md`` for
    ``my_loss.py``.

    ``options`` are hyper-parameters and options as for ``lossearch.loss``. A module already has its own, and takes
    none here. In a Python file they become the defaults of the arguments, except ``prior`` and ``weight``, which have
    no default. A graph needs ``num_classes``, and over embeddings ``embedding_size``, unless a module has them. The
    class weights of a graph are the module's. Without a module they are random, with a warning.

    ``calibrated`` keeps the factor that an entry of a leaderboard was trained with.

    Raises UserError, a ValueError, for a loss, option or path that cannot be exported.
    """
    path = require_path("path", path)
    card, calibrated = require_flag("card", card), require_flag("calibrated", calibrated)
    num_classes = None if num_classes is None else require_whole("num_classes", num_classes)
    embedding_size = None if embedding_size is None else require_whole("embedding_size", embedding_size)
    form = format_of(path, format)
    for file in [path, card_path(path)] if card else [path]:
        require_replaceable(file, require_flag("force", force))
    if not calibrated and not isinstance(loss, Entry):
        raise UserError(
            "Expected ",
            Argument("calibrated", "False"),
            " with an entry of a leaderboard: no other loss has a factor.",
        )
    with as_user_errors(*_LARGEST, *MODULE_OPTIONS):
        exportable, is_measured = _read_loss(loss, options, form)
        exportable = _with_factor(exportable, calibrated, form)
        if form == "py":
            _refuse_sizes(exportable, num_classes, embedding_size)
            exportable = replace(exportable, limits=tuple(_list_limits_of_file(loss)))
            write_export(path, exportable)
        else:
            _require_moderate(exportable, num_classes=num_classes, embedding_size=embedding_size)
            tensors = {name: options[name] for name in _TENSORS if name in options}
            module = _make_graph_module(loss, exportable, num_classes, embedding_size, tensors)
            classes = _find_graph_classes(module, num_classes, form)
            exportable = replace(exportable, limits=tuple(_list_limits_of_graph(loss, module, classes)))
            write_graph(path, module, classes, form, exportable)
    if card:
        evidence = _gather_evidence(loss) if is_measured and isinstance(loss, Entry) else None
        write_whole_text(
            card_path(path), model_card(exportable, path.name, form, evidence, _find_rejection(exportable)), typed=True
        )
    for limit in exportable.limits:
        if limit in _WARNINGS:
            warnings.warn(limit, stacklevel=3)
    return path


def card_path(path: Path) -> Path:
    """Return the path of the model card of a file."""
    return path.with_name(f"{path.name}.md")


def format_of(path: Path, format: str | None) -> str:
    """Return the given format, or the format of the path's ending.

    Raises UserError for an unknown format, and for an ending of another format.
    """
    known = ("py", *FORMATS)
    of_suffix = _SUFFIXES.get(path.suffix)
    if format is not None and not isinstance(format, str):
        raise WrongType("Expected ", Argument("format"), f" to be {', '.join(known)}, got {describe(format)}.")
    if format is None and of_suffix is None:
        raise UserError(
            f"Expected a path that ends in {', '.join(_SUFFIXES)}, or ",
            Argument("format", "..."),
            f", got {str(path)!r}.",
        )
    chosen = format if format is not None else str(of_suffix)
    if chosen not in known:
        raise UserError("Unknown ", Argument("format"), f" {shown(chosen)!r}{nearest(chosen, known)}")
    if of_suffix is not None and of_suffix != chosen:
        raise UserError(f"Expected a path that ends in .{chosen}, as the format, got {str(path)!r}.")
    return chosen


def _read_loss(loss: "str | FormulaLoss | Entry", options: Mapping[str, Any], form: str) -> tuple[Exportable, bool]:
    """Return the loss with its options, and True if a run measured it exactly so."""
    if isinstance(loss, FormulaLoss):
        if options:
            raise UserError(
                f"Expected options with a name, a formula or an entry, got {next(iter(options))} with a module. "
                "Give it to the module."
            )
        return of_module(loss), False
    if not isinstance(loss, str | Entry):
        raise WrongType(
            "Expected the name of a loss, a formula, a loss module or an entry of a leaderboard, got "
            f"{type(loss).__name__}."
        )
    values = {name: value for name, value in options.items() if name not in MODULE_OPTIONS}
    constants = {name: options[name] for name in options if name in MODULE_OPTIONS and name not in _TENSORS}
    is_measured = False
    if isinstance(loss, Entry):
        measured = loss.exportable()
        exportable = _with_options(measured.with_values(values), constants)
        is_measured = exportable == measured
        if not is_measured:
            exportable = exportable.changed_from(measured)
    elif valid_name(loss):
        known = known_loss(loss)
        require_known_options(known.name, [parameter.name for parameter in known.hyperparameters], options, ARGUMENTS)
        exportable = _with_options(of_known(known, known.values(values)), constants)
    else:
        formula = formula_with(loss, values)
        require_varying(formula.bind({name: float(value) for name, value in values.items()}))
        numbers = {name: float(value) for name, value in values.items()}
        exportable = _with_options(of_formula(formula, numbers), constants)
    for name in _TENSORS:
        if name in options and form == "py":
            raise UserError("Expected ", Argument(name), f" for a graph alone{_hint_at_argument(name, exportable)}.")
    return exportable, is_measured


def _with_options(exportable: Exportable, options: Mapping[str, Any]) -> Exportable:
    """Return the loss with these options. A small module of the loss checks them."""
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
    """Keep or drop the factor of the run, and say so in the facts."""
    if exportable.calibration is None:
        return exportable
    kept = "applied unless calibrated=False" if form == "py" else "applied"
    text = f"{exportable.calibration!r}, {kept if calibrated else 'left out'}"
    facts = tuple((label, text if label == "Calibration" else fact) for label, fact in exportable.facts)
    return replace(exportable, facts=facts, calibration=exportable.calibration if calibrated else None)


def _refuse_sizes(exportable: Exportable, num_classes: int | None, embedding_size: int | None) -> None:
    """Raise UserError for a size: only a graph takes one."""
    for name, size in (("num_classes", num_classes), ("embedding_size", embedding_size)):
        if size is not None:
            raise UserError("Expected ", Argument(name), f" for a graph alone{_hint_at_argument(name, exportable)}.")


def _require_moderate(exportable: Exportable, **sizes: int | None) -> None:
    """Raise UserError for sizes of a graph that no memory would hold."""
    for name, size in sizes.items():
        if isinstance(size, int) and size > _LARGEST[name]:
            raise UserError("Expected ", Argument(name), f" of at most {_LARGEST[name]:,} in a graph, got {size:,}.")
    given = {name: count(name, size) for name, size in sizes.items() if size is not None}
    classes, width = given.get("num_classes", 1), given.get("embedding_size", 1)
    if exportable.class_weights == "pedcc":  # all pairs of classes are spread evenly
        width = max(width, classes)
    if classes * width > _MOST_NUMBERS:
        raise UserError(
            f"Expected class weights of at most {_MOST_NUMBERS:,} numbers in a graph, got {classes:,} classes of "
            f"{width:,}. Give fewer ",
            Argument("num_classes"),
            " or a smaller ",
            Argument("embedding_size"),
            ".",
        )


def _hint_at_argument(name: str, loss: Exportable) -> str:
    """Return a clause that says so if the class of a Python file takes this argument."""
    takes = {
        "prior": "prior" in loss.formula.names,
        "weight": True,
        "num_classes": loss.over_embeddings,
        "embedding_size": loss.over_embeddings,
    }
    return ": the class of a Python file takes it as an argument" if takes.get(name, False) else ""


def _list_limits_of_file(loss: "str | FormulaLoss | Entry") -> Iterator[str]:
    """Name the parts of a module that its Python file does not hold."""
    if isinstance(loss, FormulaLoss) and loss.class_rescaling is not None:
        yield _WITHOUT_WEIGHT
    if isinstance(loss, EmbeddingLoss) and loss.class_weights.learned_at(1.0):
        yield _WITHOUT_CLASS_WEIGHTS


def _make_graph_module(
    loss: "str | FormulaLoss | Entry",
    exportable: Exportable,
    num_classes: int | None,
    embedding_size: int | None,
    tensors: Mapping[str, Any],
) -> FormulaLoss:
    """Return the module whose graph is written: the given one, or a new one.

    Raises UserError for sizes that are not the module's, and for ``embedding_size`` of a loss over logits.
    """
    if embedding_size is not None and not exportable.over_embeddings:
        raise UserError(
            "Expected ",
            Argument("embedding_size"),
            f" for a loss over embeddings alone, {exportable.formula} is over logits.",
        )
    if isinstance(loss, FormulaLoss):
        for name, size in (("num_classes", num_classes), ("embedding_size", embedding_size)):
            module_size = getattr(loss, name, None)
            if size is not None and module_size is not None and size != module_size:
                raise UserError(f"Expected {name} {module_size}, the module's, got {size}. Leave it out.")
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


def _find_graph_classes(module: FormulaLoss, num_classes: int | None, form: str) -> int:
    """Return the number of classes of the graph. Raises UserError if neither the module nor the user gives it."""
    of_module = getattr(module, "num_classes", None)
    if of_module is None and num_classes is None:
        raise UserError(
            "Expected ",
            Argument("num_classes", "..."),
            f" for the format {form}: a graph has a fixed number of classes.",
        )
    classes: Any = of_module if of_module is not None else num_classes
    return count("num_classes", classes)


def _list_limits_of_graph(loss: "str | FormulaLoss | Entry", module: FormulaLoss, classes: int) -> Iterator[str]:
    """Name what the graph fixes of the module."""
    names = module.formula.names
    if isinstance(module, EmbeddingLoss):
        yield f"The graph is for {classes} classes and embeddings of size {module.embedding_size}."
        if module is loss:
            yield "Its class weights are those of the module at the export."
        elif module.class_weights.kind != "pedcc":
            yield _RANDOM_CLASS_WEIGHTS
    else:
        yield f"The graph is for {classes} classes."
    if "prior" in names and module.prior is not None:
        yield f"Its prior is {', '.join(f'{share:g}' for share in module.prior.tolist()[:20])}."
    if "progress" in names:
        yield (
            f"Its progress stays at {float(module.progress):g} during the whole training. In a Python file, "
            "set_progress changes it."
        )


def _gather_evidence(entry: Entry) -> Evidence | None:
    """Gather what a run recorded about an entry of its leaderboard. None for an entry that belongs to no run."""
    if entry.board is None:
        return None
    row, board = entry.row, entry.board
    task = TASKS.get(row.task)
    samples = len(task.load().validation) if task is not None and not task.needs_download else None
    explanation = read_explanation(folder_of(board.path, loss_id(row.formula, row.class_weights)))
    judged = board.with_form(row) if entry.form is None else entry
    verdicts = () if judged is None else judged.verdicts
    return Evidence(row, board.rows, board.evaluations, entry.trial, samples, explanation, verdicts, entry.form)


def _find_rejection(exportable: Exportable) -> str | None:
    """Return why the screening of a search would reject the loss; None if it passes."""
    bound = exportable.formula.bind(exportable.hyperparameters)
    return rejection(bound, exportable.class_weights if exportable.over_embeddings else None)
