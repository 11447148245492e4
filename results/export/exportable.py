"""Exportable: what an exported file is written from, whether a row of a leaderboard, a known loss or a module."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import nn

from lossearch.primitives.analysis.targets import linear_in_target
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.catalog.loss import Loss
from lossearch.primitives.errors import UserError, nearest, shown
from lossearch.primitives.identity.probe import same_on_probe
from lossearch.primitives.language.formula import Call, Formula, Name, Number, call
from lossearch.primitives.language.parser import parse, valid_name
from lossearch.primitives.modules.class_weights import KINDS, suits
from lossearch.primitives.modules.contract import number_between
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss
from lossearch.primitives.programs.lowering import logits_of_cross_entropy
from lossearch.results.ranking.row import Row
from lossearch.results.storage.fresh_seed_test import FreshSeedTest

#: Facts of a row that are another loss's where something was changed.
_MEASURED = ("Validation", "Fresh seeds", "Calibration")

#: Names that an argument of an exported class cannot have.
_TAKEN = {
    *dir(nn.Module()),
    *("self", "reduction", "ignore_index", "label_smoothing", "calibration", "calibrated", "scale", "weight", "prior"),
    *("centers", "progress", "num_classes", "embedding_size", "sub_centers", "fine_tune_from", "set_progress"),
    *("index", "counted", "kept", "get_logits", "formula", "bound", "shape", "target", "logits", "embeddings"),
    *("torch", "nn", "F", "math", "Tensor", "super", "float", "int", "bool", "str", "evenly_distributed"),
    *("numbers_per_class", "number_between", "class_frequencies", "require_options", "require_one_per_class"),
    *("values", "list", "count", "factor", "isinstance"),
}


@dataclass(frozen=True)
class Exportable:
    """A formula with named hyper-parameters and their values, its class weights, and the facts about it."""

    title: str | None  #: name of a known loss or of a run's
    formula: Formula
    hyperparameters: dict[str, float]
    ranges: dict[str, tuple[float, float, bool]] = field(default_factory=dict)  #: low, high, whether whole
    class_weights: str = "learned"
    sub_centers: int = 3
    fine_tune_from: float | None = None
    reduction: str = "mean"
    ignore_index: int = -100
    label_smoothing: float = 0.0
    scale: float = 1.0
    calibration: float | None = None  #: factor by which the loss was multiplied in a search; None where it never was
    facts: tuple[tuple[str, str], ...] = ()  #: label and text, one line each
    limits: tuple[str, ...] = ()  #: what a user of the file has to know, a sentence each

    @property
    def over_embeddings(self) -> bool:
        """Whether the exported class takes embeddings, and not logits."""
        return self.formula.looks_at_embeddings

    def with_values(self, values: Mapping[str, Any]) -> "Exportable":
        """The loss with other defaults. Raises UserError for a hyper-parameter that it has not, or a bad value."""
        checked = {}
        for name, value in values.items():
            if name not in self.hyperparameters:
                has = nearest(name, self.hyperparameters) if self.hyperparameters else "; it has none"
                raise UserError(f"The loss has no hyper-parameter {shown(name)!r}{has}")
            low, high, whole = self.ranges.get(name, (-math.inf, math.inf, False))
            try:
                checked[name] = number_between(name, value, low, high, whole=whole)
            except ValueError as error:
                raise UserError(str(error)) from None
        return replace(self, hyperparameters=self.hyperparameters | checked)

    def changed_from(self, measured: "Exportable") -> "Exportable":
        """This loss without the facts that were measured of another, and with a word on what is another."""
        names = [name for name, value in self.hyperparameters.items() if value != measured.hyperparameters[name]]
        changed = [
            f"{name} = {self.hyperparameters[name]:g}, in the run {measured.hyperparameters[name]:g}" for name in names
        ]
        options = ("class_weights", "sub_centers", "fine_tune_from", "reduction", "label_smoothing", "scale")
        for name in options:
            if getattr(self, name) != getattr(measured, name):
                changed.append(f"{name} = {getattr(self, name)}, in the run {getattr(measured, name)}")
        kept = tuple(fact for fact in self.facts if fact[0] not in _MEASURED)
        return replace(self, calibration=None, facts=(*kept, ("Changed", "; ".join(changed) + "; not evaluated so")))

    @property
    def divisors(self) -> frozenset[str]:
        """Hyper-parameters by which the loss divides."""
        divided = (
            each.arguments[1] for each in self.formula.walk() if isinstance(each, Call) and each.operator == "div"
        )
        return frozenset(each.name for each in divided if isinstance(each, Name)) & self.hyperparameters.keys()

    @cached_property
    def linear_in_target(self) -> bool:
        """Whether the value for a mixture of targets is the mixture of the values."""
        return linear_in_target(self.formula.bind(self.hyperparameters))

    @cached_property
    def formula_of_logits(self) -> Formula | None:
        """x where the loss is ce(x), which torch computes as a whole; None for every other loss."""
        return logits_of_cross_entropy(self.formula)


def of_row(row: Row, run: str, trial: FreshSeedTest | None = None) -> Exportable:
    """The loss of a leaderboard's row, with names for its numbers, and its trial under fresh seeds if it had one.

    Raises UserError where its text is no formula, or its class weights are none that suit it.
    """
    kind = row.class_weights or "learned"
    if kind not in KINDS or not suits(kind, parse(row.formula)):
        raise UserError(f"Expected class_weights that suit {shown(row.formula)}, got {shown(kind)}: it is no such row.")
    known = _of_the_catalogue(row)
    formula, values = with_named_numbers(parse(row.formula)) if known is None else (known.formula, known.values())
    return _named(
        row.loss_id if known is None else f"{known.name} ({row.loss_id})",
        formula,
        values,
        ranges={} if known is None else _ranges(known),
        class_weights=kind,
        calibration=row.calibration,
        facts=(*_facts_of_row(row, run, trial), *((("Source", known.source),) if known is not None else ())),
    )


def _facts_of_row(row: Row, run: str, trial: FreshSeedTest | None) -> Iterator[tuple[str, str]]:
    yield "Found as", row.formula
    yield "Run", run
    yield "Task", f"{row.task}, trained as {row.fidelity}"
    if row.fitness_mean is None:
        yield "Validation", "none: it was not trained to the end"
    else:
        difference = row.difference_to_cross_entropy
        against = "" if difference is None else f", {difference:+.4f} against cross-entropy under the same seeds"
        yield "Validation", f"{row.metric} {row.fitness_mean:.4f} over {row.seeds} seeds{against}"
    if trial is not None:
        yield "Fresh seeds", trial.sentence(row.metric)
    yield "Born", f"{row.birth}, generation {row.generation}"
    if row.calibration is not None:
        yield "Calibration", repr(row.calibration)


def _ranges(known: Loss) -> dict[str, tuple[float, float, bool]]:
    return {each.name: (each.low, each.high, each.whole) for each in known.hyperparameters}


def of_known(loss: Loss, values: Mapping[str, float]) -> Exportable:
    """A known loss with these values of its hyper-parameters."""
    return _named(
        loss.name,
        loss.formula,
        values,
        ranges=_ranges(loss),
        class_weights=loss.class_weights,
        facts=(("Source", loss.source),),
    )


def of_formula(formula: Formula, values: Mapping[str, float]) -> Exportable:
    """A formula of the user's own with these values of its hyper-parameters."""
    return _named(None, formula, values)


def of_module(module: FormulaLoss) -> Exportable:
    """The loss of a module, with the module's hyper-parameters and options as defaults.

    Tensors of the module, its ``weight`` and ``prior``, are arguments of the exported class, and have no defaults.
    """
    options = options_of(module)
    kind = options.get("class_weights", "learned")
    known = [loss for loss in CATALOG.values() if loss.formula == module.formula and loss.class_weights == kind]
    return _named(
        known[0].name if known else None,
        module.formula,
        module.hyperparameters,
        ranges=_ranges(known[0]) if known else {},
        facts=tuple(("Source", loss.source) for loss in known[:1]),
        **options,
    )


def options_of(module: FormulaLoss) -> dict[str, Any]:
    """Fields of an exportable that are options of a module."""
    options: dict[str, Any] = {name: getattr(module, name) for name in ("reduction", "ignore_index", "label_smoothing")}
    options["scale"] = module.scale
    if isinstance(module, EmbeddingLoss):
        weights = module.class_weights
        options |= {"class_weights": weights.kind, "fine_tune_from": weights.fine_tune_from}
        options |= {"sub_centers": weights.sub_centers} if weights.kind == "sub_centers" else {}
    return options


def _of_the_catalogue(row: Row) -> Loss | None:
    """The known loss that the row is, in another form."""
    known = CATALOG.get(row.name or "")
    return known if known is not None and same_on_probe(known.bound(), parse(row.formula)) else None


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


def _named(
    title: str | None,
    formula: Formula,
    values: Mapping[str, float],
    ranges: Mapping[str, tuple[float, float, bool]] | None = None,
    **fields: Any,
) -> Exportable:
    """An exportable whose hyper-parameters have names that Python arguments can have."""
    names: dict[str, str] = {}
    for name in values:
        names[name] = _argument_name(name, {*names.values(), *(values.keys() - {name})})
    renamed = _renamed(formula, names)
    new_values = {names[name]: value for name, value in values.items()}
    new_ranges = {names[name]: bounds for name, bounds in (ranges or {}).items()}
    return Exportable(title, renamed, new_values, new_ranges, **fields)


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
