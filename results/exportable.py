"""Exportable: what an exported file is written from, whether a row of a leaderboard, a known loss or a module."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from primitives.catalog import CATALOG
from primitives.class_weights import KINDS, suits
from primitives.errors import UserError
from primitives.formula import Call, Formula, Name, Number, call
from primitives.loss import Loss
from primitives.nearest import shown
from primitives.parser import parse, valid_name
from primitives.probe import same_on_probe
from primitives.torch_loss import EmbeddingLoss, FormulaLoss
from results.leaderboard import Row

#: Names that an argument of an exported class cannot have.
_TAKEN = {
    *dir(nn.Module()),
    *("self", "reduction", "ignore_index", "label_smoothing", "calibration", "calibrated", "scale", "weight", "prior"),
    *("centers", "progress", "num_classes", "embedding_size", "sub_centers", "fine_tune_from", "set_progress"),
    *("index", "counted", "kept", "get_logits", "formula", "bound", "shape", "target", "logits", "embeddings"),
    *("torch", "nn", "F", "math", "Tensor", "super", "float", "int", "bool", "str", "evenly_distributed"),
    *("numbers_per_class", "class_frequencies", "require_options"),
}


@dataclass(frozen=True)
class Exportable:
    """A formula with named hyper-parameters and their values, its class weights, and the facts about it."""

    title: str
    formula: Formula
    hyperparameters: dict[str, float]
    class_weights: str = "learned"
    sub_centers: int = 3
    fine_tune_from: float | None = None
    reduction: str = "mean"
    ignore_index: int = -100
    label_smoothing: float = 0.0
    calibration: float = 1.0
    facts: tuple[tuple[str, str], ...] = ()  #: label and text, one line each

    @property
    def over_embeddings(self) -> bool:
        """Whether the exported class takes embeddings, and not logits."""
        return self.formula.looks_at_embeddings


def of_row(row: Row, run: str) -> Exportable:
    """The loss of a leaderboard's row, with names for its numbers.

    Raises UserError where its text is no formula, or its class weights are none that suit it.
    """
    kind = row.class_weights or "learned"
    if kind not in KINDS or not suits(kind, parse(row.formula)):
        raise UserError(f"Expected class_weights that suit {row.formula}, got {shown(kind)}. The row was changed.")
    formula, values = _of_the_catalogue(row) or with_named_numbers(parse(row.formula))
    difference = row.difference_to_cross_entropy
    against = "" if difference is None else f", {difference:+.4f} against cross-entropy under the same seeds"
    found = "none" if row.fitness_mean is None else f"{row.fitness_mean:.4f} over {row.seeds} seeds{against}"
    facts = (
        ("Found as", row.formula),
        ("Run", run),
        ("Task", f"{row.task}, {row.fidelity}"),
        ("Validation", found),
        ("Born", f"{row.birth}, generation {row.generation}"),
        ("Calibration", f"{row.calibration if row.calibration is not None else 1.0!r}"),
    )
    return _named(
        row.loss_id,
        formula,
        values,
        class_weights=kind,
        calibration=row.calibration if row.calibration is not None else 1.0,
        facts=facts,
    )


def of_known(loss: Loss, values: Mapping[str, float]) -> Exportable:
    """A known loss with these values of its hyper-parameters."""
    return _named(loss.name, loss.formula, values, class_weights=loss.class_weights, facts=(("Source", loss.source),))


def of_formula(formula: Formula, values: Mapping[str, float]) -> Exportable:
    """A formula of the user's own with these values of its hyper-parameters."""
    return _named("a formula", formula, values)


def of_module(module: FormulaLoss) -> Exportable:
    """The loss of a module, with the module's hyper-parameters and options as defaults.

    Tensors of the module, its ``weight`` and ``prior``, are arguments of the exported class, and have no defaults.
    """
    weights = module.class_weights if isinstance(module, EmbeddingLoss) else None
    kind = weights.kind if weights is not None else "learned"
    known = [loss for loss in CATALOG.values() if loss.formula == module.formula and loss.class_weights == kind]
    options: dict[str, Any] = {name: getattr(module, name) for name in ("reduction", "ignore_index", "label_smoothing")}
    if weights is not None:
        options |= {"sub_centers": weights.sub_centers, "fine_tune_from": weights.fine_tune_from}
    return _named(
        known[0].name if known else "a loss",
        module.formula,
        module.hyperparameters,
        class_weights=kind,
        calibration=module.scale,
        facts=tuple(("Source", loss.source) for loss in known[:1]),
        **options,
    )


def _of_the_catalogue(row: Row) -> tuple[Formula, dict[str, float]] | None:
    """The catalogue's formula and defaults, where the row is that loss in another form."""
    known = CATALOG.get(row.name or "")
    if known is None or not same_on_probe(known.bound(), parse(row.formula)):
        return None
    return known.formula, known.values()


def with_named_numbers(formula: Formula) -> tuple[Formula, dict[str, float]]:
    """The formula with a name, c1, c2, ..., in the place of each number that is not whole, and the numbers.

    Equal numbers share a name: they were one hyper-parameter of the loss that the formula descends from.
    """
    names: dict[float, str] = {}

    def named(node: Formula) -> Formula:
        value = node.constant
        if value is not None and value != int(value) and node != Name("pi"):
            return Name(names.setdefault(value, f"c{len(names) + 1}"))
        if isinstance(node, Call) and value is None:
            return call(node.operator, *map(named, node.arguments))
        return node

    return named(formula), {name: value for value, name in names.items()}


def _named(title: str, formula: Formula, values: Mapping[str, float], **fields: Any) -> Exportable:
    """An exportable whose hyper-parameters have names that Python arguments can have."""
    names: dict[str, str] = {}
    for name in values:
        names[name] = _argument_name(name, {*names.values(), *(values.keys() - {name})})
    renamed = _renamed(formula, names)
    return Exportable(title, renamed, {names[name]: value for name, value in values.items()}, **fields)


def _argument_name(name: str, others: Collection[str]) -> str:
    """The name, or it and as many underscores as make it one that is free."""
    if name not in _TAKEN and valid_name(name):
        return name
    while name in _TAKEN or name in others or not valid_name(name):
        name += "_"
    return name


def _renamed(formula: Formula, names: Mapping[str, str]) -> Formula:
    if isinstance(formula, Name):
        return Name(names.get(formula.name, formula.name))
    if isinstance(formula, Call):
        return call(formula.operator, *(_renamed(each, names) for each in formula.arguments))
    assert isinstance(formula, Number)
    return formula
