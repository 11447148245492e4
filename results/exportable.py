"""Exportable: what an exported file is written from, whether a row of a leaderboard, a known loss or a module."""

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from primitives.catalog import CATALOG
from primitives.formula import Call, Formula, Name, Number, call
from primitives.loss import Loss
from primitives.parser import parse, valid_name
from primitives.probe import same_on_probe
from primitives.torch_loss import EmbeddingLoss, FormulaLoss
from results.leaderboard import Row

#: Names that an argument of an exported class cannot have.
_TAKEN = {
    *dir(nn.Module()),
    *("self", "reduction", "ignore_index", "label_smoothing", "calibration", "calibrated", "scale", "weight", "prior"),
    *("centers", "progress", "num_classes", "embedding_size", "sub_centers", "fine_tune_from", "set_progress"),
    *("get_logits", "formula"),
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
    calibration: float = 1.0
    facts: tuple[tuple[str, str], ...] = field(default=())  #: label and text, one line each

    @property
    def over_embeddings(self) -> bool:
        """Whether the exported class takes embeddings, and not logits."""
        return self.formula.looks_at_embeddings


def of_row(row: Row, run: str) -> Exportable:
    """The loss of a leaderboard's row, with names for its numbers. Raises ValueError where its text is no formula."""
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
        class_weights=row.class_weights or "learned",
        calibration=row.calibration if row.calibration is not None else 1.0,
        facts=facts,
    )


def of_known(loss: Loss, values: Mapping[str, float]) -> Exportable:
    """A known loss with these values of its hyper-parameters."""
    return _named(loss.name, loss.formula, values, class_weights=loss.class_weights, facts=(("Source", loss.source),))


def of_module(module: FormulaLoss) -> Exportable:
    """The loss of a module, with the module's values of its hyper-parameters."""
    known = next((loss for loss in CATALOG.values() if loss.formula == module.formula), None)
    facts = (("Source", known.source),) if known is not None else ()
    title = known.name if known is not None else "a loss"
    if not isinstance(module, EmbeddingLoss):
        return _named(title, module.formula, module.hyperparameters, calibration=module.scale, facts=facts)
    weights = module.class_weights
    return _named(
        title,
        module.formula,
        module.hyperparameters,
        class_weights=weights.kind,
        sub_centers=weights.sub_centers,
        fine_tune_from=weights.fine_tune_from,
        calibration=module.scale,
        facts=facts,
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


def _named(title: str, formula: Formula, values: Mapping[str, float], **fields: object) -> Exportable:
    """An exportable whose hyper-parameters have names that Python arguments can have."""
    names = {name: _argument_name(name) for name in values}
    renamed = _renamed(formula, names)
    return Exportable(title, renamed, {names[name]: value for name, value in values.items()}, **fields)  # type: ignore[arg-type]


def _argument_name(name: str) -> str:
    while keyword.iskeyword(name) or name in _TAKEN or not valid_name(name):
        name += "_"
    return name


def _renamed(formula: Formula, names: Mapping[str, str]) -> Formula:
    if isinstance(formula, Name):
        return Name(names.get(formula.name, formula.name))
    if isinstance(formula, Call):
        return call(formula.operator, *(_renamed(each, names) for each in formula.arguments))
    assert isinstance(formula, Number)
    return formula
