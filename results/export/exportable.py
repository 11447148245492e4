"""Exportable losses: the one form from which every file is written, made from a row, a known loss or a module."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import nn

from lossearch.primitives.analysis.targets import CENTER_FEATURES, WEIGHT_FEATURES, linear_in_target, moves, scores
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.catalog.loss import Loss
from lossearch.primitives.errors import UserError, nearest, shown
from lossearch.primitives.identity.probe import same_on_probe
from lossearch.primitives.language.formula import Call, Formula, Name, Number, call
from lossearch.primitives.language.parser import parse, valid_name
from lossearch.primitives.modules.class_weights import KINDS, suits
from lossearch.primitives.modules.contract import number_between
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss
from lossearch.primitives.programs.lowering import logits_of_cross_entropy, lower, lower_logits
from lossearch.results.findings.tuned_forms import TunedForm, training_text, verdict_text
from lossearch.results.ranking.row import Row
from lossearch.results.storage.fresh_seed_test import FreshSeedTest

#: Facts that no longer hold once something of the loss was changed.
_MEASURED = ("Validation", "Fresh seeds", "Tuned", "Verdict", "Learning rate", "Calibration")

#: Beginning of a fact that the run does not have.
_UNKNOWN = "unknown"

#: Names that no argument of an exported class can have.
_TAKEN = {
    *dir(nn.Module()),
    *("self", "reduction", "ignore_index", "label_smoothing", "calibration", "calibrated", "scale", "weight", "prior"),
    *("rescaling", "reweighted"),
    *("centers", "progress", "num_classes", "embedding_size", "sub_centers", "fine_tune_from", "set_progress"),
    *("index", "counted", "kept", "get_logits", "formula", "bound", "shape", "target", "logits", "embeddings"),
    *("torch", "nn", "F", "math", "Tensor", "super", "float", "int", "bool", "str", "evenly_distributed"),
    *("numbers_per_class", "number_between", "class_frequencies", "require_options", "require_one_per_class"),
    *("values", "list", "count", "factor", "isinstance"),
}


@dataclass(frozen=True)
class Exportable:
    """A formula with named hyper-parameters and their values, its class weights, and the facts about it."""

    title: str | None  #: name of a known loss, or id of a loss of a run
    formula: Formula
    hyperparameters: dict[str, float]
    ranges: dict[str, tuple[float, float, bool]] = field(default_factory=dict)  #: low, high, True if whole
    class_weights: str = "learned"
    sub_centers: int = 3
    fine_tune_from: float | None = None
    reduction: str = "mean"
    ignore_index: int = -100
    label_smoothing: float = 0.0
    scale: float = 1.0
    calibration: float | None = None  #: factor of the loss in a search; None for a loss that never had one
    facts: tuple[tuple[str, str], ...] = ()  #: label and text of each fact
    limits: tuple[str, ...] = ()  #: sentences that a user of the file has to know
    learning_rate: float | None = None  #: that tuning chose for the loss with these numbers, and with its factor

    @property
    def over_embeddings(self) -> bool:
        """True if the exported class takes embeddings, False if it takes logits."""
        return self.formula.looks_at_embeddings

    def with_values(self, values: Mapping[str, Any]) -> "Exportable":
        """Return the loss with other defaults. Raises UserError for an unknown hyper-parameter or a bad value."""
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
        """Drop the facts that were measured of another loss, and add a fact that names the changes."""
        names = [name for name, value in self.hyperparameters.items() if value != measured.hyperparameters[name]]
        changed = [
            f"{name} = {self.hyperparameters[name]:g}, in the run {measured.hyperparameters[name]:g}" for name in names
        ]
        options = ("class_weights", "sub_centers", "fine_tune_from", "reduction", "label_smoothing", "scale")
        for name in options:
            if getattr(self, name) != getattr(measured, name):
                changed.append(f"{name} = {getattr(self, name)}, in the run {getattr(measured, name)}")
        kept = tuple(fact for fact in self.facts if fact[0] not in _MEASURED)
        facts = (*kept, ("Changed", "; ".join(changed) + "; not evaluated so"))
        return replace(self, calibration=None, learning_rate=None, facts=facts)

    @property
    def has_run_factor(self) -> bool:
        """True if a run trained the loss with a factor that is known, also where the file leaves it out."""
        return any(label == "Calibration" and not text.startswith(_UNKNOWN) for label, text in self.facts)

    @property
    def divisors(self) -> frozenset[str]:
        """The hyper-parameters that the loss divides by."""
        divisors = (
            node.arguments[1] for node in self.formula.walk() if isinstance(node, Call) and node.operator == "div"
        )
        return frozenset(node.name for node in divisors if isinstance(node, Name)) & self.hyperparameters.keys()

    @cached_property
    def inputs(self) -> frozenset[str]:
        """The inputs of the programs for class indices, for probabilities and for scores."""
        programs = [lower(self.formula, hard=True), lower(self.formula)]
        programs += [lower_logits(scores(self.formula))] if self.over_embeddings else []
        return frozenset(name for program in programs for name in program.inputs)

    @property
    def owns_weight(self) -> bool:
        """True if the exported class owns class weights: the value or the scores use them."""
        return self.over_embeddings and bool(self.inputs & {"weight", "z"})

    @property
    def moves_with_weight(self) -> bool:
        """True if the value moves with the class weights. Scores alone do not train them."""
        return self.owns_weight and moves(self.formula, WEIGHT_FEATURES)

    @property
    def moves_with_centers(self) -> bool:
        """True if the value moves with the centers."""
        return moves(self.formula, CENTER_FEATURES)

    @cached_property
    def linear_in_target(self) -> bool:
        """True if the value for a mixture of targets is the mixture of the values."""
        return linear_in_target(self.formula.bind(self.hyperparameters))

    @cached_property
    def formula_of_logits(self) -> Formula | None:
        """x if the loss is ce(x), which torch computes in one call; None for every other loss."""
        return logits_of_cross_entropy(self.formula)


def of_row(row: Row, run: str, trial: FreshSeedTest | None = None, form: TunedForm | None = None) -> Exportable:
    """Make the loss of a leaderboard's row exportable: name its numbers and state its facts.

    ``trial`` is its test under fresh seeds, if there was one. With a ``form`` the loss has the numbers and the factor
    of this tuned form. Raises UserError where a text is no formula, or its class weights do not suit it.
    """
    kind = row.class_weights or "learned"
    parsed = parse(row.formula if form is None else form.formula)
    if kind not in KINDS or not suits(kind, parsed):
        raise UserError(f"Expected class_weights that suit {shown(str(parsed))}, got {shown(kind)}.")
    known = _known_loss_of(row)
    values = None if known is None else _values_of_known(known, form)
    formula = parsed if known is None or values is None else known.formula
    if values is None:
        formula, values = with_named_numbers(parsed)
    return _with_valid_names(
        row.loss_id if known is None else f"{known.name} ({row.loss_id})",
        formula,
        values,
        ranges=_ranges(known) if known is not None and formula == known.formula else {},
        class_weights=kind,
        calibration=row.calibration if form is None else form.calibration,
        learning_rate=None if form is None else form.learning_rate,
        facts=(*_row_facts(row, run, trial, form), *((("Source", known.source),) if known is not None else ())),
    )


def _values_of_known(known: Loss, form: TunedForm | None) -> dict[str, float] | None:
    """Return the hyper-parameters of a known loss, tuned if it is; None if they do not give the tuned formula."""
    if form is None:
        return known.values()
    names = {parameter.name for parameter in known.hyperparameters}
    given = {name: value for name, value in form.settings_by_name().items() if name in names}
    try:
        values = known.values(given)
    except ValueError:
        return None
    return values if str(known.formula.bind(values)) == form.formula else None


def _row_facts(row: Row, run: str, trial: FreshSeedTest | None, form: TunedForm | None) -> Iterator[tuple[str, str]]:
    before = "" if form is None else "before tuning, "
    yield "Found as", row.formula
    yield "Run", run
    yield "Task", f"{row.task}, trained as {row.fidelity}"
    if trial is not None:
        yield "Fresh seeds", f"{before}{trial.sentence(row.metric)}"
    if row.fitness_mean is None:
        yield "Validation", "none: it was not trained to the end"
    else:
        difference = row.difference_to_cross_entropy
        against = "" if difference is None else f", {difference:+.4f} against cross-entropy under the same seeds"
        yield "Validation", f"{before}{row.metric} {row.fitness_mean:.4f} over {row.seeds} seeds{against}"
    yield "Born", f"{row.birth} g{row.generation}, where g0 is the first generation"
    if form is not None:
        yield from _form_facts(row, form)
    elif row.calibration is not None:
        yield "Calibration", repr(row.calibration)


def _form_facts(row: Row, form: TunedForm) -> Iterator[tuple[str, str]]:
    value = "" if form.value is None else f": {row.metric} {form.value:.4f} under seeds that chose none of its numbers"
    several = ", the first of several tasks, each of which has numbers of its own" if row.fitness_by_task else ""
    yield "Tuned", f"on the validation split of {form.task}{several}{value}"
    for line in form.verdicts:
        yield "Verdict", verdict_text(line)
    if not form.verdicts:
        yield "Verdict", "none: it was not judged on the test split"
    yield "Learning rate", f"trained {training_text(form)}"
    if form.calibration is None:
        yield "Calibration", f"{_UNKNOWN}: the run holds no measurement with these numbers, so no factor is applied"
    else:
        yield "Calibration", repr(form.calibration)


def _ranges(known: Loss) -> dict[str, tuple[float, float, bool]]:
    return {parameter.name: (parameter.low, parameter.high, parameter.whole) for parameter in known.hyperparameters}


def of_known(loss: Loss, values: Mapping[str, float]) -> Exportable:
    """Make a known loss exportable, with these values of its hyper-parameters."""
    return _with_valid_names(
        loss.name,
        loss.formula,
        values,
        ranges=_ranges(loss),
        class_weights=loss.class_weights,
        facts=(("Source", loss.source),),
    )


def of_formula(formula: Formula, values: Mapping[str, float]) -> Exportable:
    """Make a formula exportable, with these values of its hyper-parameters."""
    return _with_valid_names(None, formula, values)


def of_module(module: FormulaLoss) -> Exportable:
    """Make the loss of a module exportable, with its hyper-parameters and options as defaults.

    The tensors ``weight`` and ``prior`` of a module are arguments of the exported class without a default.
    """
    options = options_of(module)
    kind = options.get("class_weights", "learned")
    known = [loss for loss in CATALOG.values() if loss.formula == module.formula and loss.class_weights == kind]
    return _with_valid_names(
        known[0].name if known else None,
        module.formula,
        module.hyperparameters,
        ranges=_ranges(known[0]) if known else {},
        facts=tuple(("Source", loss.source) for loss in known[:1]),
        **options,
    )


def options_of(module: FormulaLoss) -> dict[str, Any]:
    """Return the options of a module, by their fields in ``Exportable``."""
    options: dict[str, Any] = {name: getattr(module, name) for name in ("reduction", "ignore_index", "label_smoothing")}
    options["scale"] = module.scale
    if isinstance(module, EmbeddingLoss):
        weights = module.class_weights
        options |= {"class_weights": weights.kind, "fine_tune_from": weights.fine_tune_from}
        options |= {"sub_centers": weights.sub_centers} if weights.kind == "sub_centers" else {}
    return options


def _known_loss_of(row: Row) -> Loss | None:
    """Return the known loss that the row has the name and the gradients of; None where there is none."""
    known = CATALOG.get(row.name or "")
    return known if known is not None and same_on_probe(known.bound(), parse(row.formula)) else None


def with_named_numbers(formula: Formula) -> tuple[Formula, dict[str, float]]:
    """Replace each number that is not whole by a name, c1, c2, ..., and return the formula and the numbers by name.

    Equal numbers share a name: they were one hyper-parameter of the loss that the formula descends from.
    """
    names: dict[float, str] = {}

    def name_numbers(node: Formula) -> Formula:
        value = node.constant
        if value is not None and value != int(value) and node != Name("pi"):
            return Name(names.setdefault(value, f"c{len(names) + 1}"))
        if isinstance(node, Call) and value is None:
            return call(node.operator, *map(name_numbers, node.arguments))
        return node

    return name_numbers(formula), {name: value for value, name in names.items()}


def _with_valid_names(
    title: str | None,
    formula: Formula,
    values: Mapping[str, float],
    ranges: Mapping[str, tuple[float, float, bool]] | None = None,
    **fields: Any,
) -> Exportable:
    """Create an exportable loss. Hyper-parameters whose names no Python argument can have get other names."""
    names: dict[str, str] = {}
    for name in values:
        names[name] = _argument_name(name, {*names.values(), *(values.keys() - {name})})
    new_values = {names[name]: value for name, value in values.items()}
    new_ranges = {names[name]: bounds for name, bounds in (ranges or {}).items()}
    return Exportable(title, _rename(formula, names), new_values, new_ranges, **fields)


def _argument_name(name: str, others: Collection[str]) -> str:
    """Return the name, with as many underscores appended as make it valid and different from the others."""
    if name not in _TAKEN and valid_name(name):
        return name
    while name in _TAKEN or name in others or not valid_name(name):
        name += "_"
    return name


def _rename(formula: Formula, names: Mapping[str, str]) -> Formula:
    if isinstance(formula, Name):
        return Name(names.get(formula.name, formula.name))
    if isinstance(formula, Call):
        return call(formula.operator, *(_rename(argument, names) for argument in formula.arguments))
    assert isinstance(formula, Number)
    return formula
